package par

import (
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestForCoversEachIterationOnce(t *testing.T) {
	for _, workers := range []int{0, 1, 2, 7} {
		for n := 0; n < 40; n++ {
			for _, grain := range []int{-1, 1, 3, 40, math.MaxInt} {
				pool := New(workers)
				seen := make([]atomic.Int32, n)
				var busy [8]atomic.Int32
				pool.For(n, grain, func(worker, lo, hi int) {
					if worker < 0 || worker >= pool.Workers() {
						t.Errorf("worker %d of %d", worker, pool.Workers())
					}
					if busy[worker].Add(1) != 1 {
						t.Errorf("two concurrent calls as worker %d", worker)
					}
					for i := lo; i < hi; i++ {
						seen[i].Add(1)
					}
					busy[worker].Add(-1)
				})
				for i := range seen {
					if c := seen[i].Load(); c != 1 {
						t.Fatalf("workers %d, n %d, grain %d: iteration %d ran %d times", workers, n, grain, i, c)
					}
				}
			}
		}
	}
}

func TestAwakeWorkers(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, workers := range []int{1, 2, 3, 9} {
		pool, end := New(workers).Awake()
		if pool.Workers() != workers {
			t.Errorf("%d workers of %d", pool.Workers(), workers)
		}
		var sum atomic.Int64
		for i := range 2000 {
			if i%500 == 499 {
				time.Sleep(2 * idle) // they fall asleep
			}
			pool.For(7, 1, func(worker, lo, hi int) {
				if worker >= workers {
					t.Errorf("worker %d of %d", worker, workers)
				}
				sum.Add(1)
				if i%100 == 0 {
					pool.For(3, 1, func(_, lo, hi int) { sum.Add(1) }) // the team is busy
				}
			})
		}
		if want := int64(2000*7 + 20*7*3); sum.Load() != want {
			t.Errorf("%d workers: %d iterations of %d", workers, sum.Load(), want)
		}
		func() {
			defer func() {
				if _, ok := recover().(*Panic); !ok && workers > 1 {
					t.Error("no panic")
				}
			}()
			pool.For(10, 1, func(_, lo, _ int) {
				if lo == 3 {
					panic("boom")
				}
			})
		}()
		pool.For(2, 1, func(_, _, _ int) {}) // goes on after it
		end()
	}
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestNilPoolRunsOnTheCaller(t *testing.T) {
	var p *Pool
	sum := 0
	p.For(10, 3, func(worker, lo, hi int) { sum += hi - lo + worker })
	if sum != 10 || p.Workers() != 1 {
		t.Fatalf("covered %d of 10 with %d workers", sum, p.Workers())
	}
}

func TestForRaisesTheFirstPanicAfterAllHaveEnded(t *testing.T) {
	var running atomic.Int32
	defer func() {
		q, ok := recover().(*Panic)
		if !ok || q.Value != "boom" || len(q.Stack) == 0 {
			t.Errorf("panic value %v", q)
		}
		if r := running.Load(); r != 0 {
			t.Errorf("%d calls still running", r)
		}
	}()
	New(4).For(1000, 1, func(_, lo, _ int) {
		running.Add(1)
		defer running.Add(-1)
		if lo == 17 {
			panic("boom")
		}
	})
	t.Error("For returned")
}
