package trial

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// Machine describes what measured times depend on: system, processor and how many of its threads there are. Two machines of one
// description are taken to give times that can be compared. Which vector instructions a program was built for is for the caller to add.
func Machine() string {
	s := fmt.Sprintf("%s/%s, %d threads", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if p := processor(string(info)); p != "" {
			s += ", " + p
		}
	}
	return s
}

// processor finds the name in /proc/cpuinfo: "model name" on x86; on arm64 there are numbers of implementer and part, maybe of several
// kinds of cores.
func processor(info string) string {
	for _, key := range []string{"model name", "Model", "CPU part"} {
		var names []string
		for _, m := range regexp.MustCompile(`(?m)^`+key+`\s*: *(.+)$`).FindAllStringSubmatch(info, -1) {
			if n := strings.Join(strings.Fields(m[1]), " "); !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		if len(names) > 0 {
			slices.Sort(names)
			return strings.Join(names, " + ")
		}
	}
	return ""
}
