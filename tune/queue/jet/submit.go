package jet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/onnxopt/onnxopt/tune/queue"
)

// Wait implements queue.Queue.
func (q *Queue) Wait(ctx context.Context, jobs []queue.Job, each func(i int, r queue.Result) error, quiet func(class string)) error {
	ctx, done := q.bound(ctx)
	defer done()
	err := q.wait(ctx, jobs, each, quiet)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func (q *Queue) wait(ctx context.Context, jobs []queue.Job, each func(i int, r queue.Result) error, quiet func(class string)) error {
	at := map[string][]int{}
	var keys []string
	for i, j := range jobs {
		if at[j.Work.Hash] == nil {
			keys = append(keys, j.Work.Hash)
		}
		at[j.Work.Hash] = append(at[j.Work.Hash], i)
	}
	if len(keys) == 0 {
		return nil
	}
	w, err := q.results.WatchFiltered(ctx, keys)
	if err != nil {
		return q.told(err)
	}
	defer w.Stop()
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	submitted := false
	places := map[string]uint64{} // of messages in the stream
	defer func() { q.withdraw(at, places) }()
	for len(at) > 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			if quiet != nil && submitted {
				q.idle(ctx, jobs, at, quiet)
			}
		case k, ok := <-w.Updates():
			switch {
			case !ok:
				return q.told(errors.New("the watch of results ended"))
			case k == nil: // all that is known was handed over
				if err := q.submit(ctx, jobs, at, places); err != nil {
					return err
				}
				submitted = true
				continue
			case k.Operation() != jetstream.KeyValuePut || at[k.Key()] == nil:
				continue
			}
			var r queue.Result
			if err := json.Unmarshal(k.Value(), &r); err != nil {
				return q.told(fmt.Errorf("result %s: %w", k.Key(), err))
			}
			for _, i := range at[k.Key()] {
				if err := each(i, r); err != nil {
					return err
				}
			}
			delete(at, k.Key())
		}
	}
	return nil
}

// submit publishes the jobs without a result.
func (q *Queue) submit(ctx context.Context, jobs []queue.Job, at map[string][]int, sequence map[string]uint64) error {
	classes := map[string]bool{}
	for i, j := range jobs {
		places := at[j.Work.Hash]
		if len(places) == 0 || places[0] != i {
			continue
		}
		class := queue.Class(j.Labels)
		if !classes[class] {
			if _, err := q.consumer(ctx, j.Labels); err != nil {
				return q.told(err)
			}
			classes[class] = true
		}
		b, err := json.Marshal(j.Work)
		if err != nil {
			return err
		}
		ack, err := q.js.Publish(ctx, subject+class, b, jetstream.WithMsgID(j.Work.Hash))
		if err != nil {
			return q.told(err)
		}
		sequence[j.Work.Hash] = ack.Sequence
	}
	return nil
}

// withdraw takes work out of the queue that nobody waits for any more. What a worker has in hand it finishes.
func (q *Queue) withdraw(at map[string][]int, sequence map[string]uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for hash := range at {
		if n, ok := sequence[hash]; ok && q.conn.IsConnected() && ctx.Err() == nil {
			_ = q.stream.DeleteMsg(ctx, n) // what stays is done in vain
		}
	}
}

// idle tells of classes that have work and no worker.
func (q *Queue) idle(ctx context.Context, jobs []queue.Job, at map[string][]int, quiet func(string)) {
	told := map[string]bool{}
	for _, j := range jobs {
		class := queue.Class(j.Labels)
		if len(at[j.Work.Hash]) == 0 || told[class] {
			continue
		}
		told[class] = true
		c, err := q.stream.Consumer(ctx, class)
		if err != nil {
			continue
		}
		if info, err := c.Info(ctx); err == nil && info.NumPending > 0 && info.NumAckPending == 0 && info.NumWaiting == 0 {
			quiet(class)
		}
	}
}

// Parked implements queue.Queue.
func (q *Queue) Parked(ctx context.Context) ([]queue.Parked, error) {
	keys, err := q.parked.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	if err != nil {
		return nil, q.told(err)
	}
	var r []queue.Parked
	for _, k := range keys {
		v, err := q.parked.Get(ctx, k)
		if err != nil {
			return nil, q.told(err)
		}
		var p queue.Parked
		if err := json.Unmarshal(v.Value(), &p); err != nil {
			return nil, q.told(err)
		}
		if p.GivenUp {
			r = append(r, p)
		}
	}
	return r, nil
}
