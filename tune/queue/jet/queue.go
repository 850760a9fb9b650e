// Package jet is the queue through NATS JetStream.
//
// Work lies in a stream with the retention of a work queue: one subject, and one durable consumer, for each class of workers. A message is
// acknowledged when the result is in a key-value bucket, under the hash of the work, created once: work that is done twice, because an
// acknowledgement was lost, counts once. Work of a worker that was killed is handed to another one after AckWait. What failed three times
// goes to a second bucket. Large things, models and data, lie in an object store under hashes of their contents.
package jet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/onnxopt/onnxopt/tune/queue"
)

// Names of what is kept on the server.
const (
	stream  = "ONNXOPT_WORK"
	subject = "onnxopt.work."
	results = "onnxopt-results"
	parked  = "onnxopt-parked"
	objects = "onnxopt-objects"
)

// Queue is a connection.
type Queue struct {
	o       queue.Options
	conn    *nats.Conn
	js      jetstream.JetStream
	stream  jetstream.Stream
	results jetstream.KeyValue
	parked  jetstream.KeyValue
	objects jetstream.ObjectStore
	lost    chan struct{} // closed when the connection is given up
}

// Connect connects, and makes the stream, the buckets and the store where they are not there yet. It gives up after Tries.
func Connect(ctx context.Context, o queue.Options) (*Queue, error) {
	if o.Tries <= 0 {
		o.Tries = 10
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	if o.AckWait <= 0 {
		o.AckWait = 30 * time.Second
	}
	q := &Queue{o: o, lost: make(chan struct{})}
	var err error
	for try := range o.Tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(o.Pause):
			}
		}
		if err = q.connect(); err == nil {
			break
		}
		if errors.Is(err, nats.ErrAuthorization) || !errors.Is(err, nats.ErrNoServers) && !errors.Is(err, nats.ErrTimeout) {
			return nil, fmt.Errorf("%s: %w", o.URL, err) // trying again would not help
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w, tried %d times: %v", o.URL, queue.ErrGone, o.Tries, err)
	}
	if err := q.make(ctx); err != nil {
		q.Close()
		return nil, q.told(err)
	}
	return q, nil
}

func (q *Queue) connect() (err error) {
	o := []nats.Option{nats.Name(q.o.Name), nats.Timeout(5 * time.Second), nats.MaxReconnects(q.o.Tries), nats.ReconnectWait(q.o.Pause),
		nats.ClosedHandler(func(*nats.Conn) { close(q.lost) })}
	if q.o.Creds != "" {
		o = append(o, nats.UserCredentials(q.o.Creds))
	}
	if q.o.TLSCA != "" {
		o = append(o, nats.RootCAs(q.o.TLSCA))
	}
	if q.o.TLSCert != "" {
		o = append(o, nats.ClientCert(q.o.TLSCert, q.o.TLSKey))
	}
	q.conn, err = nats.Connect(q.o.URL, o...)
	return err
}

func (q *Queue) make(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if q.js, err = jetstream.New(q.conn); err != nil {
		return err
	}
	q.stream, err = q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: stream, Subjects: []string{subject + "*"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Duplicates: 10 * time.Second,
	})
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return errors.New("JetStream is not enabled there")
	}
	if err == nil {
		q.results, err = q.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: results})
	}
	if err == nil {
		q.parked, err = q.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: parked})
	}
	if err == nil {
		q.objects, err = q.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: objects})
	}
	return err
}

// told words an error: the server's end is one of its own.
func (q *Queue) told(err error) error {
	select {
	case <-q.lost:
		return fmt.Errorf("%s: %w, tried %d times", q.o.URL, queue.ErrGone, q.o.Tries)
	default:
		return fmt.Errorf("%s: %w", q.o.URL, err)
	}
}

// Close ends the connection.
func (q *Queue) Close() { q.conn.Close() }

// bound is a context that ends when the connection is given up.
func (q *Queue) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-q.lost:
			cancel(q.told(nil))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// labelsKey is where the metadata of a consumer has the labels of its class.
const labelsKey = "onnxopt.labels"

// consumer makes the durable consumer of a class.
func (q *Queue) consumer(ctx context.Context, labels map[string]string) (jetstream.Consumer, error) {
	name := queue.Class(labels)
	return q.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: name, FilterSubject: subject + name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: q.o.AckWait, MaxDeliver: -1,
		Metadata: map[string]string{labelsKey: queue.LabelText(labels)},
	})
}

// Has reports whether the store has an object.
func (q *Queue) Has(ctx context.Context, name string) (bool, error) {
	_, err := q.objects.GetInfo(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return false, nil
	}
	if err != nil {
		return false, q.told(err)
	}
	return true, nil
}

// Put stores an object, unless it is there: its name is a hash of its contents.
func (q *Queue) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	if has, err := q.Has(ctx, name); has || err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	defer r.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute) // without a deadline the client takes its own, which is for small requests
	defer cancel()
	if _, err := q.objects.Put(ctx, jetstream.ObjectMeta{Name: name}, r); err != nil {
		return q.told(err)
	}
	return nil
}

// Get reads an object.
func (q *Queue) Get(ctx context.Context, name string, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	o, err := q.objects.Get(ctx, name)
	if err != nil {
		return q.told(fmt.Errorf("object %s: %w", name, err))
	}
	defer o.Close()
	return read(o)
}
