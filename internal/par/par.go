// Package par runs the iterations of a loop on a bounded number of goroutines.
//
// A [Pool] bounds how many goroutines one loop may use; it holds no threads between loops, so there is nothing to close and a
// nil Pool is a valid one-thread pool. Who runs many short loops in a row keeps the workers [Pool.Awake] meanwhile. Results never
// depend on the number of workers as long as iterations write disjoint memory.
package par

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// A Pool bounds the number of goroutines of each loop it runs. The nil Pool has one worker. A Pool is immutable and may be used
// by several goroutines at once; each of their loops then has the full number of workers.
type Pool struct {
	workers int
	team    *team // nil: each loop starts goroutines
}

// New returns a pool of the given number of workers; fewer than one means one.
func New(workers int) *Pool { return &Pool{workers: max(workers, 1)} }

// Workers returns the largest number of goroutines that one loop uses.
func (p *Pool) Workers() int {
	if p == nil {
		return 1
	}
	return p.workers
}

// A Panic is what For panics with when an iteration panicked: the first such value, and the stack it came from.
type Panic struct {
	Value any
	Stack []byte
}

// IsFault reports whether a recovered value is a fault on memory, which debug.SetPanicOnFault makes a panic: on the caller's
// goroutine or, in a [*Panic], on another.
func IsFault(v any) bool {
	if p, ok := v.(*Panic); ok {
		v = p.Value
	}
	_, ok := v.(interface {
		error
		Addr() uintptr
	})
	return ok
}

func (p *Panic) Error() string { return fmt.Sprintf("par: %v\n%s", p.Value, p.Stack) }

// For calls f on consecutive ranges [lo, hi) that together cover [0, n), each of grain iterations but the last, which may be
// shorter, and returns when all calls have. A grain below one means one. The ranges are the same whatever the number of
// workers; which worker takes which, and in what order, is not determined. Worker is the index of the calling goroutine, below
// [Pool.Workers] and below the number of ranges: no two concurrent calls have the same one, so it may index scratch memory.
//
// With one worker, or one range, f is called on the caller's goroutine, and a panic passes through untouched. A panic on
// another goroutine makes For panic with a [*Panic] once the running calls have ended; ranges not yet begun are skipped. The
// caller's debug.SetPanicOnFault holds for the other goroutines, too.
func (p *Pool) For(n, grain int, f func(worker, lo, hi int)) {
	grain = max(grain, 1)
	if n <= 0 {
		return
	}
	ranges := (n-1)/grain + 1
	workers := min(p.Workers(), ranges)
	if workers == 1 {
		for lo := 0; lo < n; {
			hi := lo + min(grain, n-lo)
			f(0, lo, hi)
			lo = hi
		}
		return
	}
	l := &loop{n: n, grain: grain, ranges: ranges, workers: workers, f: f, onFault: debug.SetPanicOnFault(false)}
	debug.SetPanicOnFault(l.onFault)
	if t := p.team; t != nil && t.busy.CompareAndSwap(false, true) {
		t.run(l)
		t.busy.Store(false)
	} else {
		var wg sync.WaitGroup
		for w := 1; w < workers; w++ {
			wg.Go(func() {
				debug.SetPanicOnFault(l.onFault)
				l.work(w)
			})
		}
		l.work(0)
		wg.Wait()
	}
	if q := l.first.Load(); q != nil {
		panic(q)
	}
}

// loop is one call of For.
type loop struct {
	n, grain, ranges, workers int
	f                         func(worker, lo, hi int)
	onFault                   bool // the caller's debug.SetPanicOnFault

	next   atomic.Int64
	first  atomic.Pointer[Panic]
	inside atomic.Int64 // workers of a team that take part; with closed set no other may begin
}

const closed = 1 << 32

// enter reports whether a worker of a team may still take part.
func (l *loop) enter() bool {
	for {
		n := l.inside.Load()
		if n&closed != 0 {
			return false
		}
		if l.inside.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// work takes ranges until there are none.
func (l *loop) work(worker int) {
	defer func() {
		if v := recover(); v != nil {
			l.first.CompareAndSwap(nil, &Panic{Value: v, Stack: debug.Stack()})
		}
	}()
	for l.first.Load() == nil {
		r := int(l.next.Add(1)) - 1
		if r >= l.ranges {
			return
		}
		lo := r * l.grain
		l.f(worker, lo, lo+min(l.grain, l.n-lo))
	}
}
