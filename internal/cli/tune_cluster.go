package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/tune"
	"github.com/onnxopt/onnxopt/tune/queue"
	"github.com/onnxopt/onnxopt/tune/trial"
)

// serverFlags say how a NATS server is reached.
type serverFlags struct {
	url, creds, ca, cert, key string
	serves                    bool // a server is started here, which the files are for
}

func (s *serverFlags) add(g group) {
	g.StringVar(&s.url, "nats", "", "`URL` of a NATS server with JetStream, like nats://host:4222 or tls://host")
	g.StringVar(&s.creds, "creds", "", "`FILE` of credentials for that server")
	g.StringVar(&s.ca, "tls-ca", "", "`FILE` of certificates that the server's is signed by, where the system does not know it")
	g.StringVar(&s.cert, "tls-cert", "", "`FILE` of this side's certificate")
	g.StringVar(&s.key, "tls-key", "", "`FILE` of its key")
}

func (s *serverFlags) check() error {
	switch {
	case (s.cert == "") != (s.key == ""):
		return usagef("--tls-cert and --tls-key go together")
	case s.url == "" && !s.serves && (s.creds != "" || s.ca != "" || s.cert != ""):
		return usagef("--creds and --tls-... are for the server of --nats")
	}
	return nil
}

// connect opens the queue.
func (s *serverFlags) connect(ctx context.Context, e *env, name string) (queue.Queue, error) {
	for _, file := range []string{s.creds, s.ca, s.cert, s.key} {
		if _, err := os.Stat(file); file != "" && err != nil {
			return nil, &fileError{file, err}
		}
	}
	return e.cluster.Connect(ctx, queue.Options{URL: s.url, Creds: s.creds, TLSCA: s.ca, TLSCert: s.cert, TLSKey: s.key, Name: name})
}

// clusterFlags say which machines make trials.
type clusterFlags struct {
	serverFlags
	listen    string
	workers   int
	latencyOn []string
	clock     map[string]string // the labels of latencyOn
}

func (c *clusterFlags) addTune(g group) {
	c.serverFlags.add(g)
	g.StringVar(&c.listen, "listen", "", "start a server at `ADDRESS`, like 0.0.0.0:4222, for workers of other machines; --tls-cert and --tls-key are its, --tls-ca asks clients for certificates")
	g.Var(count{&c.workers}, "workers", "start N workers here, with a server on loopback unless --nats or --listen say otherwise")
	g.StringSliceVar(&c.latencyOn, "latency-on", nil, "`LABELS` of the workers that tell the time, like arch=arm64,board=pi4")
}

// on reports whether trials are made elsewhere than in this process.
func (c *clusterFlags) on() bool { return c.url != "" || c.listen != "" || c.workers > 0 }

func (c *clusterFlags) check(clock bool) (err error) {
	if c.clock, err = queue.ParseLabels(c.latencyOn); err != nil {
		return usagef("--latency-on: %v", err)
	}
	switch {
	case c.url != "" && c.listen != "":
		return usagef("--nats takes a server that is there, --listen starts one: give one of them")
	case len(c.clock) > 0 && !c.on():
		return usagef("--latency-on is for workers: --nats, --listen or --workers")
	case clock && c.on() && len(c.clock) == 0:
		return usagef("which workers tell the time? --latency-on arch=arm64, or --latency model, or objectives that are counted: size, macs")
	}
	c.serves = c.listen != ""
	return c.serverFlags.check()
}

// runner makes trials here, or hands them to workers.
func (t *tuning) runner(ctx context.Context) (tune.Runner, func(), error) {
	c := &t.f.cluster
	if !c.on() {
		return t.bench, func() {}, nil
	}
	var children []func()
	done := func() {
		for i := len(children) - 1; i >= 0; i-- {
			children[i]()
		}
	}
	if c.url == "" {
		url, stop, err := t.cluster.Serve(c.listen, c.cert, c.key, c.ca)
		if err != nil {
			return nil, nil, err
		}
		children = append(children, stop)
		c.url = url
		t.say("workers: onnxopt worker --nats %s", url)
	}
	q, err := c.connect(ctx, t.env, "onnxopt tune")
	if err != nil {
		done()
		return nil, nil, err
	}
	children = append(children, q.Close)
	t.show.doing("sending model and data")
	if err := t.send(ctx, q); err != nil {
		done()
		return nil, nil, err
	}
	for i := range c.workers {
		stop, err := t.startWorker(i)
		if err != nil {
			done()
			return nil, nil, err
		}
		children = append(children, stop)
	}
	return &clusterRunner{t, q}, done, nil
}

// send puts the model and the data into the object store.
func (t *tuning) send(ctx context.Context, q queue.Queue) error {
	err := q.Put(ctx, t.objects["model"], func(w io.Writer) error {
		return onnxio.Guard(func() error {
			_, err := onnxio.Write(w, t.in.model, onnxio.WriteOptions{Data: onnxio.DataInline})
			return err
		})
	})
	if err == nil {
		err = q.Put(ctx, t.objects["data"], func(w io.Writer) error { return packData(ctx, w, t.f.data.data, t.f.data.labels) })
	}
	if err == nil && t.objects["calib"] != "" {
		err = q.Put(ctx, t.objects["calib"], func(w io.Writer) error { return packData(ctx, w, t.f.calib, "") })
	}
	return err
}

// Cluster is what a command that has NATS linked in can do; package cmd/onnxopt-nats is one.
type Cluster struct {
	Connect func(context.Context, queue.Options) (queue.Queue, error)
	// Serve starts a server in this process; cert, key and ca are files, or empty.
	Serve func(listen, cert, key, ca string) (url string, stop func(), err error)
}

// companionName is the command with NATS linked in. It is a program of its own because these packages would add more than a millisecond to
// the start of every other call, and half as much again to the size of the file.
const companionName = "onnxopt-nats"

// companion goes on in that program, with the same arguments.
func (e *env) companion() error {
	path := ""
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), companionName+filepath.Ext(self))
		if st, err := os.Stat(beside); err == nil && st.Mode().IsRegular() {
			path = beside
		}
	}
	if path == "" {
		var err error
		if path, err = exec.LookPath(companionName); err != nil {
			return fmt.Errorf("work for several machines needs the program %s beside onnxopt or on the path: go install github.com/onnxopt/onnxopt/cmd/%s@latest", companionName, companionName)
		}
	}
	if err := e.stdout.Flush(); err != nil {
		return err
	}
	c := exec.Command(path, e.args...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr // an interrupt from the terminal reaches it, too
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return &exitedError{exit.ExitCode()}
	}
	if err != nil {
		return &fileError{path, err}
	}
	return nil
}

// exitedError is the exit code of a program that has said why.
type exitedError struct{ code int }

func (e *exitedError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// startWorker starts this program as a worker; the first one has the labels of those that tell the time.
func (t *tuning) startWorker(i int) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &t.f.cluster
	args := []string{"worker", "--nats", c.url, "--child", "--threads", fmt.Sprint(t.f.resources.count()), "--name", fmt.Sprintf("local-%d", i+1)}
	if c.creds != "" {
		args = append(args, "--creds", c.creds)
	}
	if c.ca != "" {
		args = append(args, "--tls-ca", c.ca)
	}
	if c.cert != "" {
		args = append(args, "--tls-cert", c.cert, "--tls-key", c.key)
	}
	if t.f.engine.library != "" {
		args = append(args, "--ort-lib", t.f.engine.library)
	}
	if i == 0 {
		for k, v := range c.clock {
			args = append(args, "--label", k+"="+v)
		}
	}
	w := exec.Command(self, args...)
	in, err := w.StdinPipe()
	if err != nil {
		return nil, err
	}
	w.Stderr = t.stderr
	if err := w.Start(); err != nil {
		return nil, &fileError{self, err}
	}
	return func() { in.Close(); w.Wait() }, nil
}

// clusterRunner hands trials to workers.
type clusterRunner struct {
	t *tuning
	q queue.Queue
}

// Run implements tune.Runner. Where only some workers tell the time, a trial is two pieces of work.
func (r *clusterRunner) Run(ctx context.Context, trials []tune.Trial, each func(int, tune.Outcome) error) error {
	study, err := json.Marshal(r.t.spec)
	if err != nil {
		return err
	}
	clock := r.t.f.cluster.clock
	var jobs []queue.Job
	var of []int // the trial of a job
	parts := make([]int, len(trials))
	add := func(i int, x tune.Trial, labels map[string]string) error {
		b, err := json.Marshal(x)
		if err != nil {
			return err
		}
		parts[i]++
		of = append(of, i)
		key := append([]any{"work 1", x, r.t.objects}, r.t.key...)
		if x.Millis > 0 {
			key = append(key, r.t.timeKey...)
		}
		jobs = append(jobs, queue.Job{Labels: labels, Work: queue.Work{Hash: trial.Key(key...), Objects: r.t.objects, Study: study, Trial: b}})
		return nil
	}
	for i, x := range trials {
		if x.Millis > 0 && len(clock) > 0 && !r.t.spec.Modelled {
			timed := x
			timed.Only, x.Millis = true, 0
			err = add(i, timed, clock)
		}
		if err == nil {
			err = add(i, x, nil)
		}
		if err != nil {
			return err
		}
	}
	whole := make([]tune.Outcome, len(trials))
	return r.q.Wait(ctx, jobs, func(k int, got queue.Result) error {
		i := of[k]
		o := tune.Outcome{Err: got.Err}
		if got.Err == "" {
			if err := json.Unmarshal(got.Value, &o); err != nil {
				return fmt.Errorf("what worker %s gave cannot be read: %w", got.Worker, err)
			}
		} else {
			r.t.say("%s", got.Err)
		}
		w := &whole[i]
		if w.Values == nil {
			w.Values = tune.Values{}
		}
		maps.Copy(w.Values, o.Values)
		w.Seconds += o.Seconds
		if w.Err == "" {
			w.Err = o.Err
		}
		if parts[i]--; parts[i] > 0 {
			return nil
		}
		if w.Err != "" {
			w.Values = nil
		}
		return each(i, *w)
	}, func(class string) {
		r.t.say("no worker takes work of class %s: onnxopt worker --nats %s", class, r.t.f.cluster.url)
	})
}
