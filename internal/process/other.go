//go:build !unix

package process

import (
	"os"
	"os/exec"
)

func Alone(*exec.Cmd) {}

// MaxRSS is not known here.
func MaxRSS(*os.ProcessState) int64 { return 0 }

// Gone reports whether an error says that there is no such process any more.
func Gone(error) bool { return false }
