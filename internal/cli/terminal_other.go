//go:build !linux && !windows && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly

package cli

import "os"

// isTerminal is false where nobody knows how to tell.
func isTerminal(*os.File) bool { return false }
