//go:build !unix && !windows

package trial

import "os"

// lock does nothing here: files cannot be locked.
func lock(*os.File) error { return nil }
