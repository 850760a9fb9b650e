//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// alone puts the command into a process group of its own, so that what it starts ends with it.
func alone(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}
