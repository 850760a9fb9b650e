// Command fuzz looks for miscompiles for as long as one wants: it makes random models, runs random pipelines on them, and
// compares.
//
//	go run ./bench/fuzz -n 100000                     so many models, in the embedded engine
//	go run ./bench/fuzz -n 0 -time 1h -ort PATH       for an hour, in ONNX Runtime too
//	go run ./bench/fuzz -seed 4711 -n 1 -v            one case, shown
//
// It is run in the repository's root, where it finds the fixtures of the passes. A case is made from its number alone, by the same
// version of the program. Each failure is written as a reproducer, made small, that onnxopt takes back: onnxopt FILE. It exits
// with 1 if there was a failure.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

type options struct {
	n, seed   uint64
	time      time.Duration
	fixtures  string
	ort       string
	out       string
	failures  int
	verbose   bool
	operators bool
	trail     io.Writer // told the number of each case before it begins; may be nil
}

func main() {
	var o options
	flag.Uint64Var(&o.n, "n", 1000, "number of cases; 0: no limit")
	flag.Uint64Var(&o.seed, "seed", 1, "number of the first case")
	flag.DurationVar(&o.time, "time", 0, "end after so long; 0: no limit")
	flag.StringVar(&o.fixtures, "fixtures", "passes", "folder below which fixtures are taken as beginnings; empty: none")
	flag.StringVar(&o.ort, "ort", "", "compare in ONNX Runtime too: its library, or a Python environment that has it")
	flag.StringVar(&o.out, "out", "fuzz-failures", "folder for reproducers")
	flag.IntVar(&o.failures, "failures", 20, "end after so many failures")
	flag.BoolVar(&o.verbose, "v", false, "print the cases")
	flag.BoolVar(&o.operators, "operators", false, "print how often each operator occurred")
	isChild := flag.Bool("child", false, "do the work in this process; used with -ort, where another one watches over it")
	flag.Parse()
	work := run
	switch {
	case *isChild:
		if f := os.NewFile(trailFile, "trail"); f != nil {
			if _, err := f.Stat(); err == nil {
				o.trail = f
			}
		}
	case o.ort != "":
		work = supervise
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	failed, err := work(ctx, &o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}
