package par

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// idle is how long a worker of a team looks for the next loop before it goes to sleep. It is longer than most of what a model
// computes between two loops, and short beside what a thread that runs on costs.
const idle = 200 * time.Microsecond

// team is workers that outlive a loop: waking a goroutine on another thread takes as long as a small convolution.
type team struct {
	workers int
	spins   bool // there is a processor for each worker

	current atomic.Pointer[loop]
	busy    atomic.Bool // a loop is going on; another one has to do without the team
	started bool        // guarded by busy

	mu       sync.Mutex
	awake    sync.Cond
	sleeping atomic.Int32
	over     bool // guarded by mu
}

// Awake returns a pool of as many workers, which wait for the next loop of the same goroutine, and a function that sends them
// home and must be called once no loop is running. Between loops they use up processor time, for a fraction of a millisecond;
// then they sleep. A loop inside a loop, or beside one, starts goroutines of its own, as those of p do.
func (p *Pool) Awake() (pool *Pool, end func()) {
	if p.Workers() == 1 || p.team != nil {
		return p, func() {}
	}
	t := &team{workers: p.workers, spins: p.workers <= runtime.GOMAXPROCS(0)}
	t.awake.L = &t.mu
	return &Pool{workers: p.workers, team: t}, t.end
}

func (t *team) end() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.current.Store(&loop{}) // for those that look
	t.awake.Broadcast()
}

// run lets the workers take part in l, and returns when all have left it.
func (t *team) run(l *loop) {
	if !t.started {
		t.started = true
		for w := 1; w < t.workers; w++ {
			go t.work(w)
		}
	}
	t.current.Store(l)
	if t.sleeping.Load() > 0 {
		t.mu.Lock() // none is between its last look and its sleep
		t.awake.Broadcast()
		t.mu.Unlock()
	}
	l.work(0)
	for l.inside.Or(closed); l.inside.Load() != closed; {
		runtime.Gosched()
	}
}

// work is the life of a worker.
func (t *team) work(worker int) {
	var last *loop
	for {
		l := t.next(last)
		if l == nil {
			return
		}
		if last = l; worker < l.workers && l.enter() {
			debug.SetPanicOnFault(l.onFault)
			l.work(worker)
			l.inside.Add(-1)
		}
	}
}

// next waits for a loop other than the last one; nil is the end.
func (t *team) next(last *loop) *loop {
	if t.spins {
		for begun := time.Now(); time.Since(begun) < idle; {
			for range 64 {
				if l := t.current.Load(); l != last {
					if l.f == nil {
						return nil
					}
					return l
				}
			}
			runtime.Gosched()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sleeping.Add(1)
	defer t.sleeping.Add(-1)
	for t.current.Load() == last && !t.over {
		t.awake.Wait()
	}
	if t.over {
		return nil
	}
	return t.current.Load()
}
