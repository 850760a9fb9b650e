package ort

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// defaultInMemory is how many bytes of weights go to the library through memory where a file is possible: it holds the message and
// what it reads from it at the same time, but maps data files.
const defaultInMemory = 256 << 20

// load writes m, with its taps as outputs, and makes a session of it.
func (e *Engine) load(ctx context.Context, m *ir.Model, o engine.Options) (*session, error) {
	t, err := newTaps(m, o.Taps)
	if err != nil {
		return nil, err
	}
	s, err := e.newSession(m, t, o)
	if err != nil {
		return nil, err
	}
	src, err := e.write(t.model)
	if err != nil {
		return nil, err
	}
	if err = e.create(ctx, s, src); err != nil {
		return nil, errors.Join(err, src.remove())
	}
	if runtime.GOOS == "windows" { // where mapped files cannot be removed
		s.remove = src.dir
		return s, nil
	}
	if err = src.remove(); err != nil {
		return nil, closing(s, err)
	}
	return s, nil
}

// closing closes s because of err.
func closing(s *session, err error) error { return errors.Join(err, s.Close()) }

// source is a written model: in memory, or a file in a folder of its own.
type source struct {
	bytes []byte
	dir   string
}

func (s source) file() string { return filepath.Join(s.dir, "model.onnx") }

// remove deletes the folder, if there is one. The library has mapped what it needs.
func (s source) remove() error {
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// write writes m to memory or to a temporary folder.
func (e *Engine) write(m *ir.Model) (src source, err error) {
	if n := payload(m); n > e.inMemory && e.opts.WriteFile != nil && e.opts.TempDir != "" {
		if src.dir, err = os.MkdirTemp(e.opts.TempDir, "onnxopt-ort-"); err != nil {
			return source{}, err
		}
		if err = e.opts.WriteFile(src.file(), m); err != nil {
			return source{}, errors.Join(err, src.remove())
		}
		return src, nil
	}
	var b bytes.Buffer
	if err := e.opts.Write(&b, m); err != nil {
		return source{}, err
	}
	return source{bytes: b.Bytes()}, nil
}

// payload is the number of bytes of m's tensors, strings aside. It reads none of them.
func payload(m *ir.Model) (n int64) {
	add := func(t *ir.Tensor) {
		if t != nil {
			n += max(t.ByteLen(), 0)
		}
	}
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			add(v.Const())
		}
		for _, in := range g.Inputs() {
			add(in.Value().Default())
		}
		for node := range g.Nodes() {
			for _, a := range node.Attrs() {
				if a.Kind == ir.AttrTensor {
					add(a.Tensor())
				}
			}
		}
	}
	return n
}

// create makes the library's session. If execution providers were named, it is first told not to fall back to the CPU: its
// refusal is how every version says that some nodes have no other place.
func (e *Engine) create(ctx context.Context, s *session, src source) error {
	if len(e.providers) > 0 {
		err := e.createWith(ctx, s, src, true)
		if err == nil || !strings.Contains(err.Error(), "fallback to CPU EP has been explicitly disabled") {
			return err
		}
		s.remarks = append(s.remarks, "some nodes run on the CPU, because no other execution provider takes them: "+names(e.providers))
	}
	return e.createWith(ctx, s, src, false)
}

func (e *Engine) createWith(ctx context.Context, s *session, src source, noFallback bool) error {
	c := &scratch{}
	defer c.free()
	options, err := e.sessionOptions(s, noFallback)
	defer func() { e.release(fnReleaseSessionOptions, options) }()
	if err != nil {
		return err
	}
	if s.limit > 0 {
		undo, err := e.limitArena(s.limit)
		if err != nil {
			return err
		}
		defer undo()
	}
	stop := func() {}
	if e.level >= loadCancelAPI {
		stop = onEnd(ctx, func() { e.release(fnReleaseStatus, e.call(fnSetLoadCancellationFlag, options, 1)) })
	}
	if src.dir == "" {
		err = e.try(fnCreateSessionFromArray, e.env, first(c, src.bytes), uintptr(len(src.bytes)), options, addr(c, &s.handle))
	} else {
		var path uintptr
		if path, err = c.path(src.file()); err == nil {
			err = e.try(fnCreateSession, e.env, path, options, addr(c, &s.handle))
		}
	}
	stop()
	if ctx.Err() != nil {
		e.release(fnReleaseSession, s.handle)
		s.handle = 0
		return ctx.Err()
	}
	return err
}

// onEnd calls f when ctx ends. After stop, which must be called, f does not run and never will.
func onEnd(ctx context.Context, f func()) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() { defer close(done); f() })
	return func() {
		if !cancel() {
			<-done
		}
	}
}

// sessionOptions are the library's options for s. The caller releases them, also on an error.
func (e *Engine) sessionOptions(s *session, noFallback bool) (options uintptr, err error) {
	c := &scratch{}
	defer c.free()
	var handle uintptr
	if err := e.try(fnCreateSessionOptions, addr(c, &handle)); err != nil {
		return 0, err
	}
	const onlyFatal = 4
	for _, set := range []struct {
		fn    int
		value uintptr
	}{
		{fnSetSessionLogSeverityLevel, onlyFatal},
		{fnSetGraphOptimizationLevel, levels[e.opts.Optimization].number},
		{fnSetIntraOpNumThreads, uintptr(s.threads)},
		{fnSetInterOpNumThreads, 1},
	} {
		if err := e.try(set.fn, handle, set.value); err != nil {
			return handle, err
		}
	}
	var config [][2]string
	if noFallback {
		config = append(config, [2]string{"session.disable_cpu_ep_fallback", "1"})
	}
	if s.limit > 0 { // weights are not counted, so they may not come from the arena
		config = append(config, [2]string{"session.use_env_allocators", "1"}, [2]string{"session.use_device_allocator_for_initializers", "1"})
	}
	for _, kv := range config {
		p, err := c.texts(kv[:])
		if err != nil {
			return handle, err
		}
		pair := (*[2]uintptr)(pointer(p))
		if err := e.try(fnAddSessionConfigEntry, handle, pair[0], pair[1]); err != nil {
			return handle, err
		}
	}
	if e.opts.Profile != "" {
		prefix, err := c.path(e.opts.Profile)
		if err == nil {
			err = e.try(fnEnableProfiling, handle, prefix)
		}
		if err != nil {
			return handle, err
		}
	}
	return handle, e.extend(handle)
}

// extend adds execution providers and libraries of operators to a session's options.
func (e *Engine) extend(options uintptr) error {
	c := &scratch{}
	defer c.free()
	for _, p := range e.providers {
		if err := e.attach(options, p); err != nil {
			return err
		}
	}
	for _, file := range e.opts.CustomOps {
		path, err := c.path(file)
		if err != nil {
			return err
		}
		if err := e.try(fnRegisterCustomOpsLibrary, options, path); err != nil {
			return fmt.Errorf("custom operators of %s: %w", file, err)
		}
	}
	return nil
}

// limitArena makes an arena of at most n bytes the one that sessions can share. The session that is created before undo keeps
// it for itself. The library has one place for it in the process, so that loads with a limit wait for each other.
func (e *Engine) limitArena(n int64) (undo func(), err error) {
	c := &scratch{}
	defer c.free()
	var config uintptr
	keys, err := c.texts([]string{"max_mem", "arena_extend_strategy"})
	if err != nil {
		return nil, err
	}
	const sameAsRequested = 1
	if err := e.try(fnCreateArenaCfgV2, keys, first(c, []uintptr{uintptr(n), sameAsRequested}), 2, addr(c, &config)); err != nil {
		return nil, err
	}
	defer e.release(fnReleaseArenaCfg, config)
	e.arena.Lock()
	if err := e.try(fnCreateAndRegisterAllocator, e.env, e.memory, config); err != nil {
		e.arena.Unlock()
		return nil, fmt.Errorf("the memory limit: %w", err)
	}
	return func() {
		e.release(fnReleaseStatus, e.call(fnUnregisterAllocator, e.env, e.memory))
		e.arena.Unlock()
	}, nil
}
