package onnxopt_test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/onnxopt/onnxopt"

// policy says which packages of this module each package may import, besides internal ones and those that the named ones may
// import themselves (the relation is transitive). A name ending in /... stands for all packages below it. Do not relax it
// to get a build through: move the code.
var policy = []struct {
	pkg     string
	imports string
}{
	{"ir", ""},
	{"onnxio/wire", "ir"},
	{"onnxio/text", "ir"},
	{"onnxio/npz", "ir"},
	{"onnxio", "ir onnxio/wire"},
	{"ops", "ir ops/infer"},
	{"ops/schema", "ir"},
	{"ops/infer", "ir ops/schema"},
	{"ops/kernel", "ir ops/schema"},
	{"ops/grad", "ir ops"},
	{"ops/...", "ir ops/schema"},
	{"engine", "ops ops/kernel"},
	{"engine/...", "engine ops ops/kernel"},
	{"compare", "engine ops onnxio"},
	{"dataset", "ir onnxio onnxio/npz ops/kernel dataset/picture"},
	{"dataset/picture", "ir"},
	{"dataset/metric", "ir dataset"},
	{"analysis", "ir"},
	{"analysis/measured", "engine dataset compare analysis/... passes"},
	{"analysis/measured/measuredtest", "analysis/measured compare engine/native ir passes"},
	{"analysis/...", "analysis ir ops"},
	{"passes", "ir"},
	{"passes/facts", "passes ops ops/infer"},
	{"passes/hook", "passes ops engine engine/native dataset compare onnxio onnxio/text"},
	{"passes/rewrite", "passes passes/facts ops ops/kernel onnxio/text"},
	{"passes/passtest", "passes passes/facts passes/rewrite ops engine/native compare onnxio onnxio/text"},
	{"passes/rulefile", "passes passes/rewrite ops ops/infer ops/schema engine/native compare onnxio/text"},
	{"passes/all", "passes/..."},
	{"passes/budget", "passes analysis/measured"},
	{"passes/precision", "passes passes/facts passes/rewrite ops ops/kernel analysis/measured"},
	{"passes/quantize", "passes passes/facts passes/rewrite ops ops/kernel analysis/cost analysis/liveness analysis/ranges analysis/measured"},
	{"passes/quantize/...", "passes/quantize"},
	{"passes/precision", "passes/quantize"},
	{"passes/prune", "passes/quantize"},
	{"passes/prune/...", "passes/quantize"},
	{"passes/decompose", "passes/quantize"},
	{"passes/separate", "passes/quantize"},
	{"passes/dropbranches", "passes/quantize"},
	{"passes/decompose/...", "passes/quantize"},
	{"passes/...", "passes passes/facts passes/rewrite ops ops/kernel analysis/cost analysis/liveness analysis/ranges"},
	{"report", "analysis/... compare passes"},
	{"report/diff", "report compare"},
	{"report/page", "analysis analysis/cost analysis/liveness"},
	{"audit", "ir onnxio onnxio/wire analysis analysis/cost ops ops/infer ops/schema"},
	{"targets", "passes analysis/... ops"},
	{"targets/all", "targets/..."},
	{"targets/consumer", "ir onnxio/npz ops/kernel"},
	{"targets/targettest", "targets targets/consumer passes/all engine compare onnxio ops/kernel"},
	{"targets/...", "targets passes/rewrite passes/quantize"},
	{"tune/trial", ""},
	{"tune/queue", ""},
	{"tune/queue/...", "tune/queue"},
	{"tune/schedule", "targets/c tune/trial"},
	{"tune", "tune/trial passes/all targets/... compare dataset dataset/metric report"},
	{"distill", "ops/grad passes/all targets/... compare dataset dataset/metric report"},
	{"internal/optimize", "passes/all passes/hook targets/... compare dataset report onnxio onnxio/text engine/native analysis/... tune distill"},
	{"internal/cli", "internal/optimize engine/ort audit report/... tune/queue tune/schedule tune/trial"},
	{"", "internal/cli"},
	{"cmd/onnxopt", ""},
	{"cmd/onnxopt-nats", "internal/cli internal/cluster"},
	{"release", ""},
}

// external says which packages may import modules of others; std is free. Everything else imports std and this module only.
var external = map[string]string{
	"onnxio":               "google.golang.org/protobuf golang.org/x/sys",
	"onnxio/wire":          "google.golang.org/protobuf golang.org/x/sys",
	"internal/cli":         "github.com/spf13/cobra github.com/spf13/pflag golang.org/x/sys",
	"dataset":              "go.yaml.in/yaml/v3",
	"internal/linalg":      "gonum.org/v1/gonum",
	"passes/passtest":      "github.com/rogpeppe/go-internal",
	"internal/check":       "github.com/rogpeppe/go-internal",
	"integrations/action":  "go.yaml.in/yaml/v3",
	"report/page":          "gonum.org/v1/plot",
	"internal/recipe":      "go.yaml.in/yaml/v3",
	"internal/gate":        "go.yaml.in/yaml/v3",
	"passes/quantize":      "go.yaml.in/yaml/v3",
	"ops/kernel":           "golang.org/x/image", // BMP, TIFF and WebP of ImageDecoder
	"engine/ort":           "github.com/ebitengine/purego",
	"targets/tflite":       "github.com/google/flatbuffers",
	"internal/conformance": "github.com/stretchr/testify", // for tests
	"tune/queue/jet":       "github.com/nats-io/nats.go",
	"tune/queue/broker":    "github.com/nats-io/nats-server/v2",
}

func matches(pattern, pkg string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return strings.HasPrefix(pkg, base+"/")
	}
	return pattern == pkg
}

func TestImportPolicy(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	require.NoError(t, err)
	graph := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Fields(line)
		graph[rel(f[0])] = f[1:]
	}
	allowed := map[string]map[string]bool{}
	for _, row := range policy {
		for pkg := range graph {
			if matches(row.pkg, pkg) && allowed[pkg] == nil {
				allowed[pkg] = closure(graph, row.imports, pkg)
			}
		}
	}
	for pkg, imports := range graph {
		own := strings.HasPrefix(pkg, "internal/") || strings.Contains(pkg, "_gen") || strings.HasPrefix(pkg, "bench") || strings.HasPrefix(pkg, "examples") || strings.HasPrefix(pkg, "integrations")
		if pkg != "cmd/onnxopt" && !own && allowed[pkg] == nil {
			t.Errorf("package %s is not in the policy", pkg)
		}
		for _, i := range imports {
			switch {
			case i == module || strings.HasPrefix(i, module+"/"):
				d := rel(i)
				free := d != "internal/cli" && d != "internal/optimize" && strings.Contains("/"+d, "/internal/") // whose visibility Go itself bounds
				if !free && !own && pkg != "cmd/onnxopt" && !allowed[pkg][d] {
					t.Errorf("%s may not import %s", pkg, d)
				}
			case strings.Contains(strings.Split(i, "/")[0], "."):
				if !slices.ContainsFunc(strings.Fields(external[pkg]), func(m string) bool { return i == m || strings.HasPrefix(i, m+"/") }) && !strings.HasPrefix(i, "golang.org/x/sys") {
					t.Errorf("%s may not import %s", pkg, i)
				}
			}
		}
	}
}

// TestNATSApart: the command links no NATS, whose packages take more than a millisecond to initialize; onnxopt-nats does.
func TestNATSApart(t *testing.T) {
	for program, want := range map[string]bool{"onnxopt": false, "onnxopt-nats": true} {
		out, err := exec.Command("go", "list", "-deps", "./cmd/"+program).Output()
		require.NoError(t, err)
		require.Equal(t, want, strings.Contains(string(out), "github.com/nats-io/"), program)
	}
}

// closure expands a list of allowed imports by what those may import.
func closure(graph map[string][]string, list, self string) map[string]bool {
	r := map[string]bool{}
	var add func(pattern string)
	add = func(pattern string) {
		for pkg := range graph {
			if matches(pattern, pkg) && pkg != self && !r[pkg] {
				r[pkg] = true
				for _, row := range policy {
					if matches(row.pkg, pkg) {
						for _, p := range strings.Fields(row.imports) {
							add(p)
						}
						break
					}
				}
			}
		}
	}
	for _, p := range strings.Fields(list) {
		add(p)
	}
	return r
}

func rel(pkg string) string {
	if pkg == module {
		return ""
	}
	return path.Clean(strings.TrimPrefix(pkg, module+"/"))
}
