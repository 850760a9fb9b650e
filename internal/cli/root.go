package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
)

// optimizeFlags are the options of the default verb.
type optimizeFlags struct {
	output, pipeline, level string
	target                  string
	maxRAM, maxFlash        int64
	skip                    []string
	rules                   []string
	allowExec               bool
	provenance              bool
	recipe                  string
	args                    []string // the options that decide on the result
	trustRules              bool
	freezeDefaults          bool
	seed                    uint64
	verify                  enum
	data                    dataFlags
	calib                   calibFlags
	floor                   floor
	budget                  budget
	verifyEach              bool
	onMismatch              enum
	bisectLimit             int
	observe                 observeFlags
	outFormat               enum
	external                externalFlags
	files                   fileFlags
	resources               resourceFlags
}

// observeFlags say what is shown.
type observeFlags struct {
	time, stats, remarks, dryRun, json bool
	printBefore, printAfter, printDiff []string
	dumpDir, origin                    string
	report, plots                      string
	keepOrigin, quiet, verbose         bool
}

// externalFlags say how external data are written.
type externalFlags struct {
	mode      enum
	threshold int64
	shard     int64
	align     int64
}

const rootLong = `onnxopt optimizes ONNX models: a model goes in, a list of passes runs over it, a
smaller and faster model comes out that has been compared with the original.`

const rootUsage = `onnxopt [options] model.onnx -o out.onnx
onnxopt VERB [options] ...`

const rootExample = `onnxopt model.onnx -o out.onnx                   simplify, fuse, compare, write
onnxopt -O1 model.onnx -o out.onnx               exact passes only: the same bits
onnxopt -p 'cse,constfold' model.onnx -o out.onnx
onnxopt model.onnx                               only say what would come out
onnxopt --dry-run model.onnx                     list every intended rewrite
onnxopt model.onnx --print-after-change=cse      watch one pass at work
onnxopt -O0 model.onnx --format text -o -        print the model as text
cat model.onnx | onnxopt - -o - > out.onnx       in a pipe`

// root is the command line: the default verb, and the others below it.
func (e *env) root() *cobra.Command {
	f := &optimizeFlags{}
	cmd := &cobra.Command{
		Use:           "onnxopt [options] model.onnx -o out.onnx",
		Long:          rootLong,
		Example:       rootExample,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          func(cmd *cobra.Command, args []string) error { return modelArgument(cmd, args, e.verbNames()) },
		RunE: func(cmd *cobra.Command, args []string) error {
			f.args = deciders(cmd.Flags(), e.args)
			if f.recipe != "" {
				if err := applyRecipe(cmd.Flags(), f.recipe); err != nil {
					return err
				}
			}
			return e.optimize(cmd.Context(), f, args[0], cmd.Flags().Changed)
		},
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetVersionTemplate("onnxopt {{.Version}}\n")
	cmd.SetFlagErrorFunc(flagError)
	cmd.PersistentFlags().SortFlags = false
	setHelp(cmd, rootUsage, f.groups()...)
	cmd.SetHelpCommand(e.helpVerb())
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(c *cobra.Command, args []string) {
		e.addVerbs(cmd, func(string) bool { return true })
		help(c, args)
	})
	e.addVerbs(cmd, e.needed)
	return cmd
}

// verb is a verb by name, made when it is needed: a process takes longer to make all than to optimize a small model.
type verb struct {
	name string
	make func() *cobra.Command
}

// verbs are all verbs in the order of the help text.
func (e *env) verbs() []verb {
	return []verb{
		{"passes", e.passesVerb}, {"targets", e.targetsVerb}, {"lint", e.lintVerb}, {"inspect", e.inspectVerb}, {"run", e.runVerb}, {"verify", e.verifyVerb},
		{"eval", e.evalVerb}, {"bench", e.benchVerb}, {"tune", e.tuneVerb}, {"worker", e.workerVerb}, {"distill", e.distillVerb}, {"reduce", e.reduceVerb}, {"extract", e.extractVerb}, {"split", e.splitVerb},
		{"merge", e.mergeVerb}, {"diff", e.diffVerb}, {"check", e.checkVerb}, {"audit", e.auditVerb}, {"replay", e.replayVerb}, {"schema", e.schemaVerb},
		{"schedule", e.scheduleVerb}, {"version", e.versionVerb},
	}
}

// verbNames are the names of all verbs.
func (e *env) verbNames() (r []string) {
	for _, v := range e.verbs() {
		r = append(r, v.name)
	}
	return r
}

// addVerbs adds the verbs that are needed and not there.
func (e *env) addVerbs(root *cobra.Command, needed func(name string) bool) {
	for _, v := range e.verbs() {
		if needed(v.name) && !slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == v.name }) {
			root.AddCommand(v.make())
		}
	}
}

// needed reports whether the command line may be about a verb: it names it, or asks for help, completions or what else goes through all.
func (e *env) needed(name string) bool {
	return len(e.args) == 0 || slices.ContainsFunc(e.args, func(a string) bool {
		return a == name || a == "help" || a == "completion" || strings.HasPrefix(a, "__complete")
	})
}

func (f *optimizeFlags) groups() []group {
	out := newGroup("Output and passes")
	out.StringVarP(&f.output, "output", "o", "", "write the result to `FILE`; - is standard output; without it nothing is written")
	out.StringVarP(&f.pipeline, "passes", "p", "", "run `PIPELINE`: name{key=value key=value}(nested,nested),...")
	out.StringVarP(&f.level, "opt", "O", "2", "run the preset of `LEVEL`: -O0 nothing, -O1 exact passes, -O2 within float tolerance too, -O3 also ONNX Runtime's fused operators")
	out.StringVar(&f.target, "target", "", "write the artifact of `TARGET` with its options: tflite, or tflite{layout=keep}; its own pipeline runs last; onnxopt targets lists them")
	out.Var(size{&f.maxRAM}, "max-ram", "with --target c: memory that the model may take; beyond it nothing is written and the layers of the peak are named")
	out.Var(size{&f.maxFlash}, "max-flash", "with --target c: the same of read-only memory for its weights")
	out.StringArrayVar(&f.skip, "skip", nil, "leave `PASS[,RULE]` out; may be repeated")
	out.StringArrayVar(&f.rules, "rules", nil, "add the rewrite rules in `FILE` as a pass that has its name, run first unless -p names it; they are tested on models made for them; may be repeated")
	out.BoolVar(&f.trustRules, "rules-trusted", false, "take the rules without a test")
	out.StringVar(&f.recipe, "recipe", "", "take passes and options from `FILE`, YAML: passes: [...], options: {...}; what the command line states wins")
	out.BoolVar(&f.provenance, "provenance", false, "write into the metadata how the model was made: hashes of what went in, pipeline, version; onnxopt replay makes it again")
	out.BoolVar(&f.allowExec, "allow-exec", false, "let a reproducer or a recipe run programs, as exec{cmd=...} in -p may")
	out.BoolVar(&f.freezeDefaults, "freeze-defaults", false, "make the defaults of inputs constants, so that callers can no longer override them")
	out.Uint64Var(&f.seed, "seed", 1, "seed `N` of whatever is random, as generated inputs are")

	check := newGroup("Checking")
	f.verify = enum{"auto", []string{"auto", "strict", "off"}}
	check.Var(&f.verify, "verify", "compare the result with the original: auto where it can be done, strict fails where it cannot, off")
	f.budget = budget{10 * time.Second, 512 << 20}
	check.Var(&f.budget, "verify-budget", "what a comparison may take")
	check.StringVar(&f.data.data, "data", "", "compare on the data set at `PATH` instead of generated inputs, as far as the budget reaches; pictures need a preprocess.yaml")
	check.BoolVar(&f.verifyEach, "verify-each", false, "check structure and numbers after each pass")
	f.onMismatch = enum{"fail", []string{"fail", "undo"}}
	check.Var(&f.onMismatch, "on-mismatch", "undo leaves the rewrite that broke the model out and goes on")
	f.bisectLimit = -1
	check.Var(count{&f.bisectLimit}, "bisect-limit", "apply the first N rewrites only")

	return []group{out, check, f.calibGroup(), f.observe.group(), f.fileGroup()}
}

func (o *observeFlags) group() group {
	g := newGroup("Watching")
	g.BoolVar(&o.dryRun, "dry-run", false, "print every intended rewrite with its change in bytes, MACs and memory; write nothing")
	g.BoolVar(&o.remarks, "remarks", false, "print each rewrite, and why a rule was not applied")
	g.BoolVar(&o.time, "time-passes", false, "print the time of each pass")
	g.BoolVar(&o.stats, "stats", false, "print how often each rule was applied")
	for _, p := range []struct {
		to         *[]string
		name, text string
	}{
		{&o.printBefore, "print-before", "print the model as text before `PASS`, or before each"},
		{&o.printAfter, "print-after", "print the model after `PASS`, or after each"},
		{&o.printDiff, "print-after-change", "print the model after `PASS`, or each, if it changed something"},
	} {
		g.StringSliceVar(p.to, p.name, nil, p.text)
		g.Lookup(p.name).NoOptDefVal = "*"
	}
	g.StringVar(&o.dumpDir, "dump-dir", "", "write the model as text after each pass that changed it into `DIR`")
	g.StringVar(&o.origin, "origin", "", "write to `FILE` which source nodes and rules each node comes from (JSON)")
	g.StringVar(&o.report, "report", "", "write a page for a browser to `FILE`: graphs before and after, what each pass did, cost, memory, drift")
	g.StringVar(&o.plots, "plots", "", "write the plots of that page as SVG and PNG into `DIR`")
	g.BoolVar(&o.keepOrigin, "keep-origin", false, "put the same into the metadata of the nodes")
	g.BoolVar(&o.json, "json", false, "print the result as JSON on standard output")
	g.BoolVarP(&o.quiet, "quiet", "q", false, "print warnings and errors only")
	g.BoolVarP(&o.verbose, "verbose", "v", false, "print all operators and remarks on reading and writing")
	return g
}

func (f *optimizeFlags) fileGroup() group {
	g := newGroup("Files and resources")
	f.outFormat = enum{"", []string{"onnx", "text"}}
	g.Var(&f.outFormat, "format", "format of the output; otherwise its extension says: .onnxtxt and .txt are text")
	x := &f.external
	x.threshold, x.align = 1<<10, 4<<10
	x.mode = enum{"auto", []string{"auto", "none", "all", "keep"}}
	g.Var(&x.mode, "external-data", "where weights go: auto as in the input, and beside the model beyond 2 GB; none beside the model; all; keep, where they are, in copies of the data files")
	g.Var(size{&x.threshold}, "external-threshold", "weights below this stay inside")
	g.Var(size{&x.shard}, "shard-size", "begin a new data file beyond this")
	g.Var(size{&x.align}, "external-align", "place weights at multiples of this")
	f.files.add(g)
	f.resources.add(g)
	return g
}

// modelArgument checks that there is one model, or says what is wrong.
func modelArgument(cmd *cobra.Command, args, verbs []string) error {
	if len(args) > 0 && looksLikeVerb(args[0]) && (len(args) > 1 || spell.Nearest(args[0], verbs) != "") {
		return usagef("there is no verb or file %q%s", args[0], spell.Hint(args[0], verbs))
	}
	switch {
	case len(args) == 0:
		return usagef("which model? onnxopt model.onnx -o out.onnx")
	case len(args) == 2 && !cmd.Flags().Changed("output"):
		return usagef("the output is named by -o: onnxopt %s -o %s", args[0], args[1])
	case len(args) > 1:
		return usagef("one model at a time, not %q and %q", args[0], args[1])
	}
	return nil
}

// looksLikeVerb reports whether s is a bare word and no file.
func looksLikeVerb(s string) bool {
	if s == "-" || strings.ContainsAny(s, `./\`) || filepath.Ext(s) != "" {
		return false
	}
	_, err := os.Lstat(s)
	return err != nil
}

// plan is what the options ask for, checked before any file is read.
type plan struct {
	registry *passes.Registry
	pipeline string
	target   *targets.Target // nil: an ONNX model is written
	parsed   *passes.Pipeline
	skip     []passes.Skip
}

// plan parses the pipeline and the names of passes in f. given says that -p or -O is on the command line.
func (e *env) plan(f *optimizeFlags, rules []*passes.Pass, given func(option string) bool) (*plan, error) {
	r, err := e.registry(rules...)
	if err != nil {
		if len(rules) > 0 {
			return nil, usagef("--rules: %v", err)
		}
		return nil, err
	}
	p := &plan{registry: r, pipeline: f.pipeline}
	if given("passes") && given("opt") {
		return nil, usagef("-p and -O exclude each other; a preset is also a pass: -p O%s,%s", f.level, f.pipeline)
	}
	if !given("passes") {
		if p.pipeline = "O" + f.level; !isAlias(r, p.pipeline) {
			return nil, usagef("there is no level -O%s; the levels are -O0, -O1, -O2 and -O3", f.level)
		}
	}
	if f.target == "" && (f.maxRAM > 0 || f.maxFlash > 0) {
		return nil, usagef("--max-ram and --max-flash are limits of --target c")
	}
	if f.target != "" {
		if p.target, err = targetOf(f.target); err != nil {
			return nil, err
		}
		if f.target, err = limited(p.target, f.target, map[string]int64{"max-ram": f.maxRAM, "max-flash": f.maxFlash}); err != nil {
			return nil, err
		}
		switch {
		case !given("passes") && !given("opt"):
			p.pipeline = p.target.Pipeline
		case p.pipeline == "":
			p.pipeline = p.target.Pipeline
		default:
			p.pipeline += "," + p.target.Pipeline
		}
	}
	if !given("passes") {
		for _, x := range slices.Backward(rules) {
			p.pipeline = strings.TrimSuffix(x.Name+","+p.pipeline, ",")
		}
	}
	if p.parsed, err = r.Parse(p.pipeline); err != nil {
		return nil, usagef("%v", err)
	}
	for _, x := range rules {
		if !names(p.parsed, x.Name) {
			return nil, usagef("--rules defines pass %s, which -p does not name", x.Name)
		}
	}
	for _, s := range f.skip {
		k, err := r.ParseSkip(s)
		if err != nil {
			return nil, usagef("--skip: %v", err)
		}
		p.skip = append(p.skip, k)
	}
	for _, list := range [][]string{f.observe.printBefore, f.observe.printAfter, f.observe.printDiff} {
		for _, name := range list {
			if _, ok := r.Lookup(name); !ok && name != "*" {
				return nil, usagef("there is no pass %q%s", name, r.Hint(name))
			}
		}
	}
	return p, nil
}

// names reports whether a step of p, or of what it nests, is the pass of that name.
func names(p *passes.Pipeline, name string) bool {
	return slices.ContainsFunc(p.Steps(), func(s *passes.Step) bool { return s.Name() == name || s.Nested() != nil && names(s.Nested(), name) })
}

func isAlias(r *passes.Registry, name string) bool {
	for _, a := range r.Aliases() {
		if a.Name == name {
			return true
		}
	}
	return false
}
