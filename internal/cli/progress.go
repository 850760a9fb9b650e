package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"
)

// progress shows on a terminal what is going on, once it has taken a second: one line that is overwritten, and taken away before
// anything else is printed. All methods are safe on nil, which shows nothing.
type progress struct {
	w    io.Writer
	name string
	quit chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	what  string
	begun time.Time
	line  string // on the terminal
}

// startProgress begins to show the work on the model called name.
func startProgress(w io.Writer, name string) *progress {
	p := &progress{w: w, name: name, quit: make(chan struct{}), begun: time.Now()}
	p.done.Go(p.loop)
	return p
}

func (p *progress) loop() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-tick.C:
			p.draw()
		}
	}
}

func (p *progress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := time.Since(p.begun)
	if since < time.Second || p.what == "" {
		return
	}
	line := fmt.Sprintf("%s: %s (%d s)", p.name, p.what, int(since.Seconds()))
	if r := []rune(line); len(r) > 79 {
		line = string(r[:78]) + "…"
	}
	if line != p.line {
		fmt.Fprintf(p.w, "\r%s%*s", line, max(width(p.line)-width(line), 0), "")
		p.line = line
	}
}

// doing says what is going on now.
func (p *progress) doing(what string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.what = what
	p.mu.Unlock()
}

// clear takes the line away until something else is going on.
func (p *progress) clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line != "" {
		fmt.Fprintf(p.w, "\r%*s\r", width(p.line), "")
	}
	p.what, p.line = "", ""
}

func width(s string) int { return utf8.RuneCountInString(s) }

// stop ends it.
func (p *progress) stop() {
	if p == nil {
		return
	}
	p.clear()
	close(p.quit)
	p.done.Wait()
}
