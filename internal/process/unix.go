//go:build unix

package process

import (
	"os/exec"
	"syscall"
)

// Alone puts the command into a process group of its own, so that what it starts ends with it.
func Alone(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}
