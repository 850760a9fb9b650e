package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onnxopt/onnxopt/internal/optimize"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/report"
)

const inspectLong = `inspect says what a model holds, computes and needs: operators, parameters, bytes,
MACs and FLOPs (2 x MACs), peak activation memory, sparsity, opsets, interface,
functions and external data.

Sizes that the model leaves open count as --size says, by symbol or by input and axis; a
first axis (the batch) is 1 unless given. Where sizes stay open, numbers are lower bounds, marked with "≥".

With --shapes, it lists instead what inference finds of every value: its type and shape, with
expressions over the dimensions that the inputs name, and the elements of small integer tensors.

With --text, it prints the model as text, with long constants cut short, and behind it a hash of
each constant, so that two of these texts differ where the models do: git shows models so
with git config diff.onnx.textconv 'onnxopt inspect --text', and *.onnx diff=onnx in .gitattributes.

With --data, it says instead what the model is fed: the statistics of each input over
all samples, after the preprocessing. Without a model these are of what the data hold,
by the names they have there. --save-sample draws the first sample as the model
gets it, from its smallest element in black to its largest in white; where the model
takes blue first, blue and red are swapped.

--html with --data runs the model on the first samples (32, or --limit), and shows the ranges of its values.

A model that is not valid is shown all the same, and then the exit code is 1; --text only shows.`

const inspectExample = `onnxopt inspect model.onnx
onnxopt inspect model.onnx --size N=8 --size 'image[2]=320'
onnxopt inspect --json model.onnx | jq .macs
onnxopt inspect model.onnx --shapes
onnxopt inspect model.onnx --text
onnxopt inspect model.onnx --html model.html
onnxopt inspect model.onnx --html model.html --data x.npz
onnxopt inspect --front tuned/front.json --html front.html
onnxopt inspect model.onnx --data x.npz
onnxopt inspect --data x.npz
onnxopt inspect model.onnx --data photos/ --preset imagenet-torch --save-sample one.png`

// inspectFlags are the options of inspect.
type inspectFlags struct {
	json       bool
	shapes     bool
	text       bool
	html       string
	front      string
	sizes      sizes
	saveSample string
	data       dataFlags
	files      fileFlags
}

// check finds wrong usage before any file is read.
func (f *inspectFlags) check(args []string, given func(string) bool) error {
	switch {
	case f.front != "" && f.html == "":
		return usagef("--front is for a page: --html FILE")
	case len(args) != 1 && (len(args) > 0 || f.data.data == "" && f.front == ""):
		return usagef("inspect takes one model, not %d", len(args))
	case len(args) == 0 && f.data.cast:
		return usagef("--cast is for the element types of a model; name one")
	case f.data.data != "" && f.shapes:
		return usagef("--shapes is for inspecting the model, not its data")
	case f.html != "" && (f.text || f.shapes || f.json || f.saveSample != ""):
		return usagef("--html stands alone, without --text, --shapes, --json and --save-sample")
	case f.html != "" && f.data.data != "" && len(args) == 0:
		return usagef("--html with --data shows what values a model takes; name one")
	case f.text && (f.shapes || f.json || f.data.data != ""):
		return usagef("--text stands alone, without --shapes, --json and --data")
	case f.html != "" && f.data.data != "":
		return nil
	case f.data.data != "" && len(f.sizes) > 0:
		return usagef("--size is for inspecting the model, not its data")
	case f.data.data != "":
		return checkPicture(f.saveSample)
	case f.saveSample != "":
		return usagef("--save-sample needs --data PATH")
	}
	unused := ""
	new(dataFlags).group("").VisitAll(func(o *pflag.Flag) {
		if unused == "" && given(o.Name) {
			unused = o.Name
		}
	})
	if unused != "" {
		return usagef("--%s needs --data PATH", unused)
	}
	return nil
}

// sizes is --size: symbolic dimensions and their sizes.
type sizes map[string]int64

var _ pflag.Value = sizes{}

func (s sizes) Type() string   { return "NAME=N" }
func (s sizes) String() string { return "" }
func (s sizes) Set(text string) error {
	at := strings.LastIndexByte(text, '=')
	name, number, ok := text[:max(at, 0)], text[at+1:], at > 0
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n < 0 {
		return fmt.Errorf("%q is not a name and a size, like N=8", text)
	}
	s[name] = n
	return nil
}

func (e *env) inspectVerb() *cobra.Command {
	f := &inspectFlags{sizes: sizes{}}
	cmd := &cobra.Command{
		Use: "inspect", Short: "say what a model holds, computes and needs", Long: inspectLong, Example: inspectExample,
		Args: func(cmd *cobra.Command, args []string) error { return f.check(args, cmd.Flags().Changed) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && f.front != "" {
				return e.inspectHTML(cmd.Context(), f, nil)
			}
			if len(args) == 0 {
				return e.inspectData(cmd.Context(), f, nil)
			}
			return e.inspect(cmd.Context(), f, args[0])
		},
	}
	g := newGroup("Options")
	g.BoolVar(&f.json, "json", false, "print JSON")
	g.BoolVar(&f.shapes, "shapes", false, "list types and shapes of all values")
	g.BoolVar(&f.text, "text", false, "print the model as text for comparisons: long constants as hashes")
	g.StringVar(&f.html, "html", "", "write a page for a browser to `FILE`: the graph, its nodes and weights, cost and memory")
	g.StringVar(&f.front, "front", "", "show on the page what a search found: `FILE` is the front.json of tune")
	g.Var(f.sizes, "size", "size of an open dimension of the inputs: symbol=8 or input[axis]=8; may be repeated")
	f.files.add(g)
	data := f.data.group("Data")
	data.StringVar(&f.saveSample, "save-sample", "", "draw the first sample as the model gets it to `FILE`, .png")
	setHelp(cmd, "onnxopt inspect [options] model.onnx\nonnxopt inspect [options] [model.onnx] --data PATH", g, data)
	return cmd
}

// inspected is the --json of inspect: an inspection and the file.
type inspected struct {
	File  string `json:"file"`
	Bytes int64  `json:"file_bytes"`
	*report.Inspection
}

func (e *env) inspect(ctx context.Context, f *inspectFlags, name string) error {
	in, err := e.open(name, &f.files, false)
	if err != nil {
		return err
	}
	defer in.close()
	if f.data.data != "" && f.html == "" {
		return e.inspectData(ctx, f, in)
	}
	if f.text {
		return e.inspectText(ctx, in)
	}
	show := e.inspectModel
	switch {
	case f.html != "":
		show = e.inspectHTML
	case f.shapes:
		show = e.inspectShapes
	}
	if err := show(ctx, f, in); err != nil {
		return err
	}
	err = onnxio.Guard(func() error { return optimize.Check(in.model) })
	if err == nil {
		return nil
	}
	err = &fileError{in.name, fmt.Errorf("the model is not valid: %w", err)}
	if f.json {
		return &toldError{err}
	}
	return err
}

// inspectModel prints the numbers of a model.
func (e *env) inspectModel(ctx context.Context, f *inspectFlags, in *input) error {
	r := inspected{File: in.name, Bytes: in.size}
	err := onnxio.Guard(func() (err error) {
		r.Inspection, err = report.Inspect(in.model, report.Options{Sizes: f.sizes})
		return err
	})
	if err == nil {
		err = ctx.Err()
	}
	switch {
	case err != nil:
		return &fileError{in.name, err}
	case f.json:
		return e.json(r)
	}
	r.write(e.stdout)
	return nil
}

// write prints the tables.
func (r *inspected) write(w io.Writer) {
	t := table{}
	t.row(r.File, fmt.Sprintf("%s, IR version %d, %s", bytesText(r.Bytes), r.IRVersion, r.opsets()))
	if r.Producer != "" {
		t.row("producer", r.Producer)
	}
	t.write(w, "")
	r.ports(w, "inputs", r.Inputs)
	r.ports(w, "outputs", r.Outputs)
	r.numbers(w)
	r.operators(w)
	if len(r.Inspection.Functions) > 0 {
		fmt.Fprintln(w, "\nfunctions")
		t := table{right: []int{0}}
		for _, f := range r.Inspection.Functions {
			t.row(strconv.Itoa(f.Nodes), f.Name)
		}
		t.write(w, "  ")
	}
	if len(r.External) > 0 {
		fmt.Fprintln(w, "\nexternal data")
		t := table{right: []int{0, 1}}
		for _, x := range r.External {
			t.row(bytesText(x.Bytes), strconv.Itoa(x.Tensors)+" tensors", x.Location)
		}
		t.write(w, "  ")
	}
}

func (r *inspected) opsets() string {
	var s []string
	for _, o := range r.Opsets {
		if o.Domain == "" {
			s = append(s, fmt.Sprintf("opset %d", o.Version))
		} else {
			s = append(s, fmt.Sprintf("%s %d", o.Domain, o.Version))
		}
	}
	return strings.Join(s, ", ")
}

func (r *inspected) ports(w io.Writer, title string, ports []report.Port) {
	fmt.Fprintln(w, "\n"+title)
	t := table{}
	for _, p := range ports {
		note := ""
		if p.Default {
			note = "has a default"
		}
		t.row(p.Name, p.Type, note)
	}
	t.write(w, "  ")
}

func (r *inspected) numbers(w io.Writer) {
	fmt.Fprintln(w)
	t := table{}
	var types []string
	for _, s := range r.DTypes {
		types = append(types, fmt.Sprintf("%s %s", s.Type, bytesText(s.Bytes)))
	}
	t.row("nodes", strconv.Itoa(r.Nodes), within(r.Subgraphs, r.Summary.Functions))
	t.row("parameters", countText(r.Parameters), strings.Join(types, ", "))
	t.row("sparsity", fmt.Sprintf("%.1f %%", 100*r.Sparsity), countText(r.Zeros)+" zeros")
	t.row("MACs", atLeast(r.Uncounted)+countText(r.MACs), unknown(r.Uncounted, "node", "of unknown size"))
	t.row("FLOPs", atLeast(r.Uncounted)+countText(r.FLOPs), "2 x MACs")
	at := r.PeakAt
	if u := unknown(int64(r.Unsized), "value", "of unknown size"); u != "" {
		at = u
	}
	t.row("peak activation", atLeast(int64(r.Unsized))+bytesText(r.PeakActivation), at)
	t.write(w, "")
}

// within says which further graphs the nodes are in.
func within(subgraphs, functions int) string {
	var s []string
	if subgraphs > 0 {
		s = append(s, fmt.Sprintf("%d subgraph%s", subgraphs, plural(subgraphs)))
	}
	if functions > 0 {
		s = append(s, fmt.Sprintf("%d function%s", functions, plural(functions)))
	}
	if len(s) == 0 {
		return ""
	}
	return "in the graph and " + strings.Join(s, " and ")
}

func unknown(n int64, what, why string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s%s %s not counted", n, what, plural(int(n)), why)
}

func (r *inspected) operators(w io.Writer) {
	fmt.Fprintln(w, "\noperators")
	t := table{right: []int{0}}
	for _, op := range report.Operators(&r.Summary, &report.Summary{}) {
		t.row(strconv.Itoa(r.Operators[op]), op)
	}
	t.write(w, "  ")
}
