package jet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/onnxopt/onnxopt/tune/queue"
)

// poll is how long a worker waits for work of one class before it looks at the next.
const poll = 500 * time.Millisecond

// Work implements queue.Queue.
func (q *Queue) Work(ctx context.Context, w queue.Worker) error {
	ctx, done := q.bound(ctx)
	defer done()
	if w.Limit <= 0 {
		w.Limit = time.Hour
	}
	if w.Told == nil {
		w.Told = func(string, ...any) {}
	}
	for {
		consumers, err := q.classes(ctx, w.Labels)
		if err == nil {
			err = q.round(ctx, &w, consumers)
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil { // the server may be back soon; if it is not, the connection is given up
			w.Told("%v", err)
			select {
			case <-ctx.Done():
			case <-time.After(q.o.Pause):
			}
		}
	}
}

// classes are the consumers of the classes whose labels are among a worker's, those with most labels first.
func (q *Queue) classes(ctx context.Context, labels map[string]string) ([]jetstream.Consumer, error) {
	if _, err := q.consumer(ctx, nil); err != nil {
		return nil, q.told(err)
	}
	list := q.stream.ListConsumers(ctx)
	number := map[string]int{}
	for c := range list.Info() {
		text := c.Config.Metadata[labelsKey]
		if text == "" {
			number[c.Name] = 0
			continue
		}
		need, err := queue.ParseLabels(strings.Split(text, ","))
		if err != nil {
			continue
		}
		fits := true
		for k, v := range need {
			fits = fits && labels[k] == v
		}
		if fits {
			number[c.Name] = len(need)
		}
	}
	if err := list.Err(); err != nil {
		return nil, q.told(err)
	}
	names := slices.Sorted(maps.Keys(number))
	slices.SortStableFunc(names, func(a, b string) int { return number[b] - number[a] })
	var r []jetstream.Consumer
	for _, name := range names {
		c, err := q.stream.Consumer(ctx, name)
		if err != nil {
			return nil, q.told(err)
		}
		r = append(r, c)
	}
	return r, nil
}

// round asks every class once.
func (q *Queue) round(ctx context.Context, w *queue.Worker, consumers []jetstream.Consumer) error {
	for i, c := range consumers {
		wait := jetstream.FetchMaxWait(poll)
		batch, err := c.Fetch(1, wait)
		if err != nil {
			return q.told(err)
		}
		for msg := range batch.Messages() {
			if err := q.take(ctx, w, msg); err != nil {
				return err
			}
			if i > 0 {
				return nil // there may be work for a better class meanwhile
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return q.told(err)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return nil
}

// take does one piece of work.
func (q *Queue) take(ctx context.Context, w *queue.Worker, msg jetstream.Msg) error {
	var work queue.Work
	if err := json.Unmarshal(msg.Data(), &work); err != nil || work.Hash == "" {
		w.Told("work that cannot be read was taken out of the queue")
		return msg.TermWithReason("it cannot be read")
	}
	if _, err := q.results.Get(ctx, work.Hash); err == nil {
		return msg.Ack() // it was done; only the acknowledgement was lost
	}
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	attempt := int(meta.NumDelivered)
	if attempt > queue.Attempts { // the workers that had it vanished
		return q.park(ctx, w, msg, &work, "")
	}
	stop := q.heartbeat(msg)
	value, err := attemptAt(ctx, w, work)
	stop()
	if ctx.Err() != nil {
		msg.Nak() // for somebody else, at once; if that fails, after AckWait
		return nil
	}
	if err != nil {
		w.Told("attempt %d at %s failed: %v", attempt, work.Hash, err)
		if attempt >= queue.Attempts {
			return q.park(ctx, w, msg, &work, err.Error())
		}
		q.remark(ctx, &work, msg.Subject(), err.Error())
		return msg.Nak()
	}
	if err := q.create(ctx, work.Hash, queue.Result{Value: value, Worker: w.Name}); err != nil {
		return err
	}
	return msg.DoubleAck(ctx)
}

// attemptAt is Do within its bounds. A crash is an error.
func attemptAt(ctx context.Context, w *queue.Worker, work queue.Work) (v json.RawMessage, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.Limit, fmt.Errorf("it took longer than %v", w.Limit))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
		}
	}()
	v, err = w.Do(ctx, work)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return v, err
}

// heartbeat tells the server that the work is under way.
func (q *Queue) heartbeat(msg jetstream.Msg) (stop func()) {
	quit := make(chan struct{})
	go func() {
		t := time.NewTicker(q.o.AckWait / 3)
		defer t.Stop()
		for {
			select {
			case <-quit:
				return
			case <-t.C:
				msg.InProgress()
			}
		}
	}()
	return func() { close(quit) }
}

// create writes a result, once: another one that came first stays.
func (q *Queue) create(ctx context.Context, hash string, r queue.Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err = q.results.Create(ctx, hash, b); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return q.told(err)
	}
	return nil
}

// remark notes why an attempt failed, for whoever looks at what was parked.
func (q *Queue) remark(ctx context.Context, work *queue.Work, subj, reason string) {
	p := q.parkedAs(ctx, work, subj)
	p.Reasons = append(p.Reasons, reason)
	if b, err := json.Marshal(p); err == nil {
		_, _ = q.parked.Put(ctx, work.Hash, b) // it is told again when the work is parked
	}
}

func (q *Queue) parkedAs(ctx context.Context, work *queue.Work, subj string) queue.Parked {
	p := queue.Parked{Work: *work, Class: strings.TrimPrefix(subj, subject)}
	if v, err := q.parked.Get(ctx, work.Hash); err == nil {
		_ = json.Unmarshal(v.Value(), &p) // what cannot be read is begun anew
	}
	p.At = time.Now().UTC()
	return p
}

// park gives work up: the parked bucket has all that is needed to try it again, and the result says why there is none.
func (q *Queue) park(ctx context.Context, w *queue.Worker, msg jetstream.Msg, work *queue.Work, reason string) error {
	p := q.parkedAs(ctx, work, msg.Subject())
	p.Reasons, p.GivenUp = append(p.Reasons, reason), true
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if _, err := q.parked.Put(ctx, work.Hash, b); err != nil {
		return q.told(err)
	}
	if reason == "" {
		reason = "the workers that had it vanished"
	}
	w.Told("%s is parked after %d attempts: %s", work.Hash, queue.Attempts, reason)
	first, _, _ := strings.Cut(reason, "\n")
	if err := q.create(ctx, work.Hash, queue.Result{Err: fmt.Sprintf("it failed %d times and is parked as %s: %s", queue.Attempts, work.Hash, first), Worker: w.Name}); err != nil {
		return err
	}
	return msg.TermWithReason("parked")
}
