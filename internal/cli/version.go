package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/ops/schema"
)

const versionLong = `version prints the version of onnxopt, and what it was built with.`

// versionInfo is the --json of version.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Opset    int64  `json:"opset"` // the newest known version of the default operator set
	Engine   string `json:"engine"`
	Runtime  string `json:"onnxruntime,omitempty"`         // the ONNX Runtime that --engine ort finds
	Missing  string `json:"onnxruntime_missing,omitempty"` // why there is none
}

// version is the module's version as the Go command recorded it.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}

// versionOf is what the program itself says, without ONNX Runtime.
func versionOf() versionInfo {
	v := versionInfo{Version: version(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Opset: schema.Newest(""), Engine: "native"}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	return v
}

func readVersion() versionInfo {
	v := versionOf()
	path, err := ort.Find("", libraryRoots()...)
	var info ort.Info
	if err == nil {
		info, err = ort.Probe(path)
	}
	if err != nil {
		v.Missing = err.Error()
	} else {
		v.Runtime = info.String()
	}
	return v
}

func (e *env) versionVerb() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "print the version", Long: versionLong, Args: noArgs,
		Example: "onnxopt version --json",
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			if asJSON {
				return e.json(v)
			}
			fmt.Fprintf(e.stdout, "onnxopt %s\n", v.Version)
			if v.Revision != "" {
				fmt.Fprintf(e.stdout, "revision %s\n", v.Revision)
			}
			fmt.Fprintf(e.stdout, "%s, %s\noperator sets up to %d\nengine: %s (embedded)\n", v.Go, v.Platform, v.Opset, v.Engine)
			if v.Runtime != "" {
				fmt.Fprintf(e.stdout, "engine: ort, %s\n", v.Runtime)
			} else {
				fmt.Fprintf(e.stdout, "engine: ort, %s\n", v.Missing)
			}
			return nil
		},
	}
	g := newGroup("Options")
	g.BoolVar(&asJSON, "json", false, "print JSON")
	setHelp(cmd, "onnxopt version [--json]", g)
	return cmd
}
