package cli

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/passes"
)

// group is a titled part of a verb's options, for the help text.
type group struct {
	title string
	*pflag.FlagSet
}

func newGroup(title string) group {
	g := group{title, pflag.NewFlagSet(title, pflag.ContinueOnError)}
	g.SortFlags = false
	return g
}

// texts is an option with several values, joined by commas in one or each given by one option. Those of pflag write their defaults as CSV when
// they are declared, which takes a tenth of the time in which a small model is optimized.
type texts struct {
	to     *[]string
	joined bool
	given  bool
}

func (t *texts) String() string { return "[" + strings.Join(*t.to, ",") + "]" }
func (t *texts) Type() string   { return "strings" }

func (t *texts) Set(s string) error {
	list := []string{s}
	if t.joined {
		list = strings.Split(s, ",")
	}
	if !t.given {
		*t.to, t.given = nil, true
	}
	*t.to = append(*t.to, list...)
	return nil
}

// StringSliceVar is an option whose values commas join; value is the default.
func (g group) StringSliceVar(p *[]string, name string, value []string, usage string) {
	*p = value
	g.Var(&texts{to: p, joined: true}, name, usage)
}

// StringArrayVar is an option that may be repeated.
func (g group) StringArrayVar(p *[]string, name string, value []string, usage string) {
	g.StringArrayVarP(p, name, "", value, usage)
}

// StringArrayVarP is StringArrayVar with a letter.
func (g group) StringArrayVarP(p *[]string, name, short string, value []string, usage string) {
	*p = value
	g.VarP(&texts{to: p}, name, short, usage)
}

// enum is an option with a fixed set of values.
type enum struct {
	value string
	known []string
}

func (e *enum) String() string { return e.value }
func (e *enum) Type() string   { return strings.Join(e.known, "|") }
func (e *enum) Set(s string) error {
	if !slices.Contains(e.known, s) {
		return fmt.Errorf("%q is none of %s%s", s, strings.Join(e.known, ", "), spell.Hint(s, e.known))
	}
	e.value = s
	return nil
}

// size is an option in bytes.
type size struct{ n *int64 }

func (s size) Type() string { return "SIZE" }
func (s size) String() string {
	if s.n == nil || *s.n == 0 {
		return ""
	}
	b, _ := passes.Size(*s.n).MarshalText()
	return string(b)
}
func (s size) Set(text string) error {
	var z passes.Size
	if err := z.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	*s.n = int64(z)
	return nil
}

// budget is --verify-budget: a time, a size, or both with a comma.
type budget struct {
	time   time.Duration
	memory int64
}

func (b *budget) Type() string { return "TIME,SIZE" }
func (b *budget) String() string {
	return b.time.String() + "," + size{&b.memory}.String()
}
func (b *budget) Set(text string) error {
	for _, part := range strings.Split(text, ",") {
		if d, err := time.ParseDuration(part); err == nil && d > 0 {
			b.time = d
			continue
		}
		var z passes.Size
		if z.UnmarshalText([]byte(part)) != nil || z <= 0 {
			return fmt.Errorf("%q is neither a time (like 10s, 2m) nor a size (like 512M)", part)
		}
		b.memory = int64(z)
	}
	return nil
}

// count is a whole number that is not negative.
type count struct{ n *int }

func (c count) Type() string { return "N" }
func (c count) String() string {
	if c.n == nil || *c.n < 0 {
		return ""
	}
	return strconv.Itoa(*c.n)
}
func (c count) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no whole number from 0 on", s)
	}
	*c.n = n
	return nil
}

// flagError words pflag's errors for users and makes them usage errors.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name, short := unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames()
		if short == "" {
			return usagef("there is no option --%s%s", name, hintFlag(cmd, name))
		}
		return usagef("there is no option -%s%s", short, hintFlag(cmd, short))
	case errors.As(err, &missing):
		return usagef("option --%s needs a value", missing.GetFlag().Name)
	case errors.As(err, &invalid):
		var number *strconv.NumError
		if errors.As(err, &number) {
			return usagef("option --%s: %q is no number that fits here", invalid.GetFlag().Name, number.Num)
		}
		return usagef("option --%s: %v", invalid.GetFlag().Name, errors.Unwrap(invalid))
	}
	return usagef("%v", err)
}

// hintFlag is `, did you mean --x?` or nothing.
func hintFlag(cmd *cobra.Command, name string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if n := spell.Nearest(name, names); n != "" {
		return ", did you mean --" + n + "?"
	}
	return ""
}

// singleDash rejects a long option's name behind one dash, which would be read as a short option and its value.
func singleDash(cmd *cobra.Command, args []string) error {
	for _, a := range args {
		if a == "--" {
			return nil
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(a, "-"), "=")
		if strings.HasPrefix(a, "-") && len(name) > 1 && cmd.Flags().Lookup(name) != nil {
			return usagef("long options take two dashes: --%s", name)
		}
	}
	return nil
}

// fileFlags say where models and their external data lie; every verb that reads a model has them.
type fileFlags struct {
	dataRoot, dataDir string
}

func (f *fileFlags) add(g group) {
	g.StringVar(&f.dataRoot, "data-root", "", "folder `DIR` that links of external data may lead to (model caches use links)")
	g.StringVar(&f.dataDir, "data-dir", "", "folder `DIR` of the external data of a model that comes or goes through a pipe")
}

// resourceFlags bound what a run may use.
type resourceFlags struct {
	threads   int
	maxMemory int64
}

func (r *resourceFlags) add(g group) {
	r.threads = runtime.NumCPU()
	g.Var(count{&r.threads}, "threads", "threads to use, 0 for all; results do not depend on it")
	g.Var(size{&r.maxMemory}, "max-memory", "bytes of memory to stay within")
}
