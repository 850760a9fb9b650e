package trial_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/tune/trial"
)

// TestMain makes this program the child of its own tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-child" {
		child(os.Args[2:])
	}
	os.Exit(m.Run())
}

func child(args []string) {
	switch args[0] {
	case "echo":
		var b bytes.Buffer
		b.ReadFrom(os.Stdin)
		os.Stdout.Write(bytes.ToUpper(b.Bytes()))
		os.Stderr.WriteString("first\nlast words\n")
		code, _ := strconv.Atoi(args[1])
		os.Exit(code)
	case "flood":
		line := bytes.Repeat([]byte("x"), 1000)
		for range 1000 {
			os.Stdout.Write(line)
			os.Stderr.Write(line)
		}
		os.Stderr.WriteString("END")
		os.Exit(0)
	case "sleep":
		time.Sleep(time.Minute)
	case "family": // starts a child of its own, says its number, and lives or ends
		c := exec.Command(os.Args[0], "-child", "sleep")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			os.Exit(9)
		}
		os.WriteFile(args[2], []byte(strconv.Itoa(c.Process.Pid)), 0o666)
		if args[1] == "stay" {
			time.Sleep(time.Minute)
		}
		os.Exit(0)
	case "memory":
		time.Sleep(100 * time.Millisecond)
		var all [][]byte
		for range 4096 {
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
		runtime.KeepAlive(all) // beyond any limit of the test
		os.Exit(0)
	}
	os.Exit(8)
}

func self(args ...string) trial.Child {
	return trial.Child{Argv: append([]string{os.Args[0], "-child"}, args...), Timeout: 30 * time.Second}
}

func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.jsonl")
	l, err := trial.Open(path)
	require.NoError(t, err)
	a := trial.Record{Key: "a", Kind: "x", Params: json.RawMessage(`{"tile":6}`), Metrics: map[string]float64{"s": 1.5}, Seconds: 2, Machine: "m"}
	require.NoError(t, l.Put(a))
	require.NoError(t, l.Put(trial.Record{Key: "b", Err: "crashed"}))
	a.Metrics = map[string]float64{"s": 1.25}
	require.NoError(t, l.Put(a))
	require.Error(t, l.Put(trial.Record{}))
	require.ErrorContains(t, l.Put(trial.Record{Key: "c", Metrics: map[string]float64{"s": inf()}}), "record c")
	require.NoError(t, l.Close())
	require.Error(t, l.Put(a), "it is closed")

	for _, open := range []func(string) (*trial.Log, error){trial.Open, trial.Read} {
		l, err = open(path)
		require.NoError(t, err)
		got, ok := l.Get("a")
		require.True(t, ok)
		require.Equal(t, a, got, "the last one counts")
		var keys []string
		for r := range l.Each() {
			keys = append(keys, r.Key)
		}
		require.Equal(t, []string{"a", "b"}, keys)
		_, ok = l.Get("c")
		require.False(t, ok)
		require.NoError(t, l.Close())
	}
	l, err = trial.Read(path)
	require.NoError(t, err)
	require.ErrorContains(t, l.Put(a), "opened for reading")
}

func inf() float64 { var z float64; return 1 / z }

// TestTorn cuts a log within and between its lines: what opens has all the whole lines, and can be added to.
func TestTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.jsonl")
	l, err := trial.Open(path)
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, l.Put(trial.Record{Key: strconv.Itoa(i), Kind: "k"}))
	}
	require.NoError(t, l.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for n := 0; n < len(whole); n += 3 { // the lines' lengths leave different remainders
		require.NoError(t, os.WriteFile(path, whole[:n], 0o666))
		lines := max(bytes.Count(whole[:n], []byte("\n"))-1, 0)
		r, err := trial.Read(path)
		require.NoError(t, err)
		require.Equal(t, lines, r.Len(), "cut at %d", n)
		l, err := trial.Open(path)
		require.NoError(t, err, "cut at %d", n)
		require.NoError(t, l.Put(trial.Record{Key: "new"}))
		require.NoError(t, l.Close())
		r, err = trial.Read(path)
		require.NoError(t, err)
		require.Equal(t, lines+1, r.Len())
	}
}

func TestNoLog(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"notes": "# Notes\n", "short": "x", "v2": "{\"onnxopt\":\"trial log\",\"version\":2}\n"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		_, err := trial.Open(path)
		require.ErrorContains(t, err, "is not a trial log")
		left, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(left), "it was left alone")
	}
	path := filepath.Join(dir, "broken")
	require.NoError(t, os.WriteFile(path, []byte("{\"onnxopt\":\"trial log\",\"version\":1}\n{\"key\":\"a\",\"kind\":\"\",\"seconds\":0}\n{\"ke\n{\"key\":\"b\"}\n"), 0o666))
	_, err := trial.Open(path)
	require.ErrorContains(t, err, "broken:3 is not a record")
	_, err = trial.Read(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestOneWriter(t *testing.T) {
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" || runtime.GOOS == "plan9" {
		t.Skip("left out: files cannot be locked here")
	}
	path := filepath.Join(t.TempDir(), "log.jsonl")
	l, err := trial.Open(path)
	require.NoError(t, err)
	_, err = trial.Open(path)
	require.ErrorIs(t, err, trial.ErrLocked)
	require.ErrorContains(t, err, path)

	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 8 {
				if err := l.Put(trial.Record{Key: trial.Key(i, j)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	r, err := trial.Read(path)
	require.NoError(t, err, "readers are let in")
	require.Equal(t, 64, r.Len())
	require.NoError(t, l.Close())
	l, err = trial.Open(path)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

func TestKey(t *testing.T) {
	type layer struct {
		Shape []int `json:"shape"`
		Op    string
	}
	k := trial.Key("v1", layer{[]int{1, 2}, "Conv"})
	require.Equal(t, k, trial.Key("v1", map[string]any{"Op": "Conv", "shape": []int64{1, 2}}))
	require.Len(t, k, 32)
	keys := []string{k, trial.Key("v1", layer{[]int{1, 3}, "Conv"}), trial.Key("v2", layer{[]int{1, 2}, "Conv"}), trial.Key("ab"), trial.Key("a", "b"), trial.Key(1), trial.Key("1"),
		trial.Key(int64(1) << 60), trial.Key(int64(1)<<60 + 1)}
	slices.Sort(keys)
	require.Len(t, slices.Compact(keys), 9)
	require.Panics(t, func() { trial.Key(func() {}) })
	require.Contains(t, trial.Machine(), runtime.GOARCH)
}

func TestRun(t *testing.T) {
	c := self("echo", "0")
	c.Stdin = strings.NewReader("in")
	r, err := trial.Run(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, "IN", string(r.Stdout))
	require.Zero(t, r.Exit)
	require.False(t, r.Cut)
	if runtime.GOOS == "linux" {
		require.Greater(t, r.MaxRSS, int64(100<<10))
	}

	r, err = trial.Run(t.Context(), self("echo", "3"))
	var f *trial.Failure
	require.ErrorAs(t, err, &f)
	require.Equal(t, "last words", f.Words)
	require.ErrorContains(t, err, "exit status 3: last words")
	require.Equal(t, 3, r.Exit)

	c = self("flood")
	c.MaxOutput = 2500
	r, err = trial.Run(t.Context(), c)
	require.NoError(t, err)
	require.True(t, r.Cut)
	require.Equal(t, []int{2500, 2500}, []int{len(r.Stdout), len(r.Stderr)})
	require.True(t, bytes.HasSuffix(r.Stderr, []byte("xEND")))

	_, err = trial.Run(t.Context(), trial.Child{Argv: []string{"no-such-program-here"}})
	require.ErrorIs(t, err, exec.ErrNotFound)
	_, err = trial.Run(t.Context(), trial.Child{})
	require.Error(t, err)
}

// TestEnded: a program that takes too long, and one whose run is stopped, ends with all that it started; one that ends by itself leaves nothing.
func TestEnded(t *testing.T) {
	stop := errors.New("stopped")
	for _, how := range []string{"late", "stopped", "ends"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			pid := filepath.Join(t.TempDir(), "pid")
			c := self("family", "stay", pid)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			switch how {
			case "late":
				c.Timeout = 400 * time.Millisecond
			case "stopped":
				time.AfterFunc(400*time.Millisecond, func() { cancel(stop) })
			case "ends":
				c.Argv[3] = "leave"
			}
			start := time.Now()
			r, err := trial.Run(ctx, c)
			require.Less(t, time.Since(start), 20*time.Second)
			switch how {
			case "late":
				var f *trial.Failure
				require.ErrorAs(t, err, &f)
				require.ErrorContains(t, err, "took longer than 400ms")
				require.Equal(t, -1, r.Exit)
			case "stopped":
				require.ErrorIs(t, err, stop)
			case "ends":
				require.NoError(t, err)
			}
			if runtime.GOOS != "linux" {
				return
			}
			data, err := os.ReadFile(pid)
			if errors.Is(err, os.ErrNotExist) && how != "ends" {
				t.Skip("left out: the machine is too slow for the child to have begun")
			}
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				stat, err := os.ReadFile("/proc/" + string(data) + "/stat")
				return err != nil || strings.Contains(string(stat), ") Z ")
			}, 5*time.Second, 10*time.Millisecond, "the grandchild lives")
		})
	}
}

func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("left out: memory of other programs is bounded on Linux only")
	}
	c := self("memory")
	c.MaxMemory = 3 << 30 // the race detector's own address space, where it is on, fails it as well
	r, err := trial.Run(t.Context(), c)
	var f *trial.Failure
	require.ErrorAs(t, err, &f)
	require.Zero(t, f.Timeout)
	require.NotZero(t, r.Exit)
	require.Less(t, r.MaxRSS, int64(3<<30))
}
