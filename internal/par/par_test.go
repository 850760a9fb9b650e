package par

import (
	"math"
	"sync/atomic"
	"testing"
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
