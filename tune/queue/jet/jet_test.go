package jet_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/tune/queue"
	"github.com/onnxopt/onnxopt/tune/queue/broker"
	"github.com/onnxopt/onnxopt/tune/queue/jet"
)

// TestMain makes this program the server and the workers of its own tests, each a process.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 2 && os.Args[1] == "-server":
		url, stop, err := broker.Start(broker.Options{Store: os.Args[2]})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(url)
		io.Copy(io.Discard, os.Stdin) // until the test ends
		stop()
		os.Exit(0)
	case len(os.Args) > 3 && os.Args[1] == "-worker":
		work(os.Args[2], os.Args[3], os.Args[4:])
	}
	os.Exit(m.Run())
}

// task is what workers of the tests do.
type task struct {
	Sleep int  `json:"sleep"` // milliseconds
	Fail  bool `json:"fail"`
	Crash bool `json:"crash"` // panics
	Exit  bool `json:"exit"`  // takes the worker along
}

func options(url string) queue.Options {
	return queue.Options{URL: url, Tries: 3, Pause: 100 * time.Millisecond, AckWait: 900 * time.Millisecond}
}

func work(url, name string, labels []string) {
	l, err := queue.ParseLabels(labels)
	if err == nil {
		var q *jet.Queue
		if q, err = jet.Connect(context.Background(), options(url)); err == nil {
			fmt.Println("ready")
			err = q.Work(context.Background(), queue.Worker{Name: name, Labels: l, Do: func(ctx context.Context, w queue.Work) (json.RawMessage, error) {
				var t task
				if err := json.Unmarshal(w.Trial, &t); err != nil {
					return nil, err
				}
				time.Sleep(time.Duration(t.Sleep) * time.Millisecond)
				switch {
				case t.Fail:
					return nil, errors.New("it always fails")
				case t.Crash:
					panic("crashed")
				case t.Exit:
					os.Exit(7)
				}
				return json.Marshal(name)
			}})
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// start runs this program with arguments until the test ends and waits for its first line.
func start(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = os.Stderr
	require.NoError(t, c.Start())
	t.Cleanup(func() { in.Close(); c.Process.Kill(); c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return c, strings.TrimSpace(line)
}

func serve(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	c, url := start(t, "-server", t.TempDir())
	return c, url
}

func connect(t *testing.T, url string) *jet.Queue {
	t.Helper()
	q, err := jet.Connect(t.Context(), options(url))
	require.NoError(t, err)
	t.Cleanup(q.Close)
	return q
}

func jobs(t *testing.T, name string, n int, w task, labels map[string]string) (r []queue.Job) {
	t.Helper()
	b, err := json.Marshal(w)
	require.NoError(t, err)
	for i := range n {
		r = append(r, queue.Job{Work: queue.Work{Hash: fmt.Sprintf("%s-%d", name, i), Trial: b}, Labels: labels})
	}
	return r
}

// wait runs jobs and returns the worker of each.
func wait(t *testing.T, q *jet.Queue, list []queue.Job) []queue.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := make([]queue.Result, len(list))
	n := 0
	require.NoError(t, q.Wait(ctx, list, func(i int, x queue.Result) error { r[i] = x; n++; return nil }, nil))
	require.Equal(t, len(list), n, "each result comes once")
	return r
}

// TestWorkers: a killed worker loses nothing, throughput grows with workers, results stay, and labels decide who gets what.
func TestWorkers(t *testing.T) {
	t.Parallel()
	_, url := serve(t)
	q := connect(t, url)
	first, _ := start(t, "-worker", url, "first")

	begun := time.Now()
	wait(t, q, jobs(t, "one", 8, task{Sleep: 150}, nil))
	alone := time.Since(begun)

	start(t, "-worker", url, "second", "arch=arm64", "board=pi")
	start(t, "-worker", url, "third")
	begun = time.Now()
	by := map[string]int{}
	for _, r := range wait(t, q, jobs(t, "three", 8, task{Sleep: 150}, nil)) {
		by[r.Worker]++
	}
	together := time.Since(begun)
	t.Logf("8 trials of 150 ms: %v with one worker, %v with three, %v", alone, together, by)
	require.Less(t, together, alone*2/3, "three workers are faster than one")
	require.Len(t, by, 3)

	begun = time.Now()
	again := wait(t, q, jobs(t, "three", 8, task{Sleep: 150}, nil))
	require.Less(t, time.Since(begun), time.Second, "what is known is not done again")
	require.Len(t, again, 8)

	for _, r := range wait(t, q, jobs(t, "arm", 2, task{}, map[string]string{"arch": "arm64"})) {
		require.Equal(t, "second", r.Worker)
	}

	time.AfterFunc(250*time.Millisecond, func() { first.Process.Kill() })
	for _, r := range wait(t, q, jobs(t, "killed", 6, task{Sleep: 300}, nil)) {
		require.Empty(t, r.Err)
	}
}

// TestParked: what fails, crashes or takes its worker along three times is parked, and the search goes on.
func TestParked(t *testing.T) {
	t.Parallel()
	_, url := serve(t)
	q := connect(t, url)
	start(t, "-worker", url, "steady")
	list := append(jobs(t, "fails", 1, task{Fail: true}, nil), jobs(t, "panics", 1, task{Crash: true}, nil)...)
	r := wait(t, q, append(list, jobs(t, "fine", 1, task{}, nil)...))
	require.Contains(t, r[0].Err, "it failed 3 times and is parked as fails-0: it always fails")
	require.Contains(t, r[1].Err, "internal error: crashed")
	require.Empty(t, r[2].Err)
	for i := range queue.Attempts {
		start(t, "-worker", url, fmt.Sprint("doomed", i), "doomed=yes")
	}
	start(t, "-worker", url, "last", "doomed=yes") // has to see it a fourth time
	r = wait(t, q, jobs(t, "exits", 1, task{Exit: true}, map[string]string{"doomed": "yes"}))
	require.Contains(t, r[0].Err, "the workers that had it vanished")

	parked, err := q.Parked(t.Context())
	require.NoError(t, err)
	require.Len(t, parked, 3)
	for _, p := range parked {
		require.NotEmpty(t, p.Work.Trial, "it can be tried again")
		if p.Work.Hash == "fails-0" {
			require.Equal(t, []string{"it always fails", "it always fails", "it always fails"}, p.Reasons)
		}
	}
}

// TestGone: a server that is not there, or goes away, ends the work in bounded time with one line.
func TestGone(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	_, err := jet.Connect(t.Context(), options("nats://127.0.0.1:1"))
	require.ErrorIs(t, err, queue.ErrGone)
	require.ErrorContains(t, err, "tried 3 times")
	require.Less(t, time.Since(begun), 10*time.Second)

	c, url := serve(t)
	q := connect(t, url)
	time.AfterFunc(200*time.Millisecond, func() { c.Process.Kill() })
	err = q.Wait(t.Context(), jobs(t, "never", 1, task{}, nil), func(int, queue.Result) error { return nil }, nil)
	require.ErrorIs(t, err, queue.ErrGone)
	require.NotContains(t, err.Error(), "\n")
}

// TestWithdrawn: work of a search that ended is not done.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	_, url := serve(t)
	q := connect(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := q.Wait(ctx, jobs(t, "late", 3, task{}, nil), func(int, queue.Result) error { return nil }, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	start(t, "-worker", url, "one")
	wait(t, q, jobs(t, "now", 1, task{}, nil))
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	done := 0
	_ = q.Wait(ctx, jobs(t, "late", 3, task{Sleep: 10_000}, nil), func(int, queue.Result) error { done++; return nil }, nil)
	require.Zero(t, done, "there are no results of what was withdrawn")
}

// TestObjects: large things go through the store once.
func TestObjects(t *testing.T) {
	t.Parallel()
	_, url := serve(t)
	q := connect(t, url)
	big := strings.Repeat("0123456789", 100_000)
	writes := 0
	for range 2 {
		require.NoError(t, q.Put(t.Context(), "m-1", func(w io.Writer) error { writes++; _, err := io.WriteString(w, big); return err }))
	}
	require.Equal(t, 1, writes)
	require.NoError(t, q.Get(t.Context(), "m-1", func(r io.Reader) error {
		b, err := io.ReadAll(r)
		require.Equal(t, big, string(b))
		return err
	}))
	require.ErrorContains(t, q.Get(t.Context(), "none", func(io.Reader) error { return nil }), "none")
	require.Error(t, q.Put(t.Context(), "m-2", func(io.Writer) error { return errors.New("the disk is gone") }))
	has, err := q.Has(t.Context(), "m-2")
	require.NoError(t, err)
	require.False(t, has, "nothing half-written")
}

func TestLabels(t *testing.T) {
	_, err := queue.ParseLabels([]string{"arch"})
	require.ErrorContains(t, err, "is no label")
	_, err = queue.ParseLabels([]string{"a=1", "a=2"})
	require.ErrorContains(t, err, "both 1 and 2")
	l, err := queue.ParseLabels([]string{"b=2", "a=x.y"})
	require.NoError(t, err)
	require.Equal(t, queue.Class(l), queue.Class(map[string]string{"a": "x.y", "b": "2"}))
	require.NotEqual(t, queue.Class(l), queue.Class(map[string]string{"a": "x-y", "b": "2"}))
	require.Equal(t, "any", queue.Class(nil))
}
