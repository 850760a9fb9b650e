// Package browser tests the pages of reports in a headless Chromium, as people use them: clicks, search, keyboard, print. It is a module of
// its own because of the driver.
package browser

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// chromium finds a browser.
func chromium(t *testing.T) string {
	for _, name := range []string{os.Getenv("ONNXOPT_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("left out: there is no Chromium on the PATH; .ci/run installs it (apt-get install chromium)")
	return ""
}

// command builds the command once.
var command = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "onnxopt-browser")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "onnxopt")
	out, err := exec.Command("go", "build", "-C", "../../..", "-o", bin, "./cmd/onnxopt").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

func run(t *testing.T, args ...string) {
	bin, err := command()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// open loads a page and gives a function that runs actions in it, and the URLs that it asked for.
func open(t *testing.T, file string) (do func(...chromedp.Action), requests func() []string) {
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.WindowSize(1300, 900))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), o...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var urls []string
	chromedp.ListenTarget(ctx, func(e any) {
		if r, ok := e.(*network.EventRequestWillBeSent); ok {
			mu.Lock()
			urls = append(urls, r.Request.URL)
			mu.Unlock()
		}
	})
	do = func(a ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(ctx, a...); err != nil {
			t.Fatal(err)
		}
	}
	do(network.Enable(), chromedp.Navigate("file://"+file), chromedp.WaitReady("#data", chromedp.ByID))
	return do, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return urls
	}
}

func eval[T any](t *testing.T, do func(...chromedp.Action), js string) (v T) {
	t.Helper()
	do(chromedp.Evaluate(js, &v))
	return v
}

func text(t *testing.T, do func(...chromedp.Action), id string) (s string) {
	t.Helper()
	do(chromedp.Text("#"+id, &s, chromedp.ByID))
	return s
}

// shot checks that a screenshot shows something, and keeps it where ONNXOPT_SHOTS says.
func shot(t *testing.T, do func(...chromedp.Action), name string) {
	t.Helper()
	var b []byte
	do(chromedp.CaptureScreenshot(&b))
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	colours := map[uint32]bool{}
	for y := m.Bounds().Min.Y; y < m.Bounds().Max.Y; y += 2 {
		for x := m.Bounds().Min.X; x < m.Bounds().Max.X; x += 2 {
			r, g, b, _ := m.At(x, y).RGBA()
			colours[r>>8<<16|g>>8<<8|b>>8] = true
		}
	}
	if len(colours) < 20 {
		t.Errorf("%s: %d colours: nothing is drawn", name, len(colours))
	}
	if dir := os.Getenv("ONNXOPT_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReport: the page of an optimization, used with mouse and keyboard.
func TestReport(t *testing.T) {
	chromium(t)
	file := filepath.Join(t.TempDir(), "r.html")
	run(t, "../../../testdata/digits/digits.onnx", "--report", file, "-q", "--data", "../../../testdata/digits/digits-images.idx3.gz")
	do, requests := open(t, file)
	if got := eval[int](t, do, "onnxopt.graph"); got != 1 {
		t.Errorf("graph %d is shown first, not the result", got)
	}
	shot(t, do, "report")
	// Search: the number of hits, Enter selects the first, its panel has the operands.
	do(chromedp.SendKeys("#search", "conv", chromedp.ByID))
	if got := text(t, do, "hits"); got != "3 hits" && got != "2 hits" {
		t.Errorf("search says %q", got)
	}
	do(chromedp.SendKeys("#search", kb.Enter, chromedp.ByID))
	panel := text(t, do, "panel")
	for _, want := range []string{"Conv", "conv0.weight", "MACs", "drift", "range on data", "32 samples", "float[8,1,3,3]"} {
		if !strings.Contains(panel, want) {
			t.Errorf("the panel does not say %q: %s", want, panel)
		}
	}
	if n := eval[int](t, do, "document.querySelectorAll('#panel svg rect').length"); n != 64 { // of the weight and the bias
		t.Errorf("the histogram has %d bars", n)
	}
	// The arrow key goes on to the next node, Escape closes the panel, / goes to the search.
	first := eval[int](t, do, "onnxopt.selected")
	do(chromedp.Focus("#canvas", chromedp.ByID), chromedp.KeyEvent(kb.ArrowDown))
	if now := eval[int](t, do, "onnxopt.selected"); now == first || now < 0 {
		t.Errorf("ArrowDown selects %d after %d", now, first)
	}
	shot(t, do, "selected")
	do(chromedp.KeyEvent(kb.Escape))
	if text(t, do, "panel") != "" || eval[int](t, do, "onnxopt.selected") != -1 {
		t.Error("Escape leaves a node selected")
	}
	do(chromedp.KeyEvent("/"))
	if id := eval[string](t, do, "document.activeElement.id"); id != "search" {
		t.Errorf("/ goes to %q", id)
	}
	// A click on the middle of a box selects it; on nothing, nothing.
	pos := eval[[]float64](t, do, "(() => { const r = document.getElementById('canvas').getBoundingClientRect(), p = onnxopt.where(1); return [r.left + p[0], r.top + p[1]]; })()")
	do(chromedp.MouseClickXY(pos[0], pos[1]))
	if got := eval[int](t, do, "onnxopt.selected"); got != 1 {
		t.Errorf("a click selects %d", got)
	}
	// Zoom by button and key, pan by drag.
	scale := eval[float64](t, do, "onnxopt.scale")
	do(chromedp.Click("#in", chromedp.ByID), chromedp.Focus("#canvas", chromedp.ByID), chromedp.KeyEvent("+"))
	if now := eval[float64](t, do, "onnxopt.scale"); now < 1.2*scale {
		t.Errorf("zooming in twice goes from %g to %g", scale, now)
	}
	before := eval[[]float64](t, do, "onnxopt.offset()")
	do(chromedp.Evaluate(`(() => { const c = document.getElementById('canvas'), e = (t, x) => c.dispatchEvent(new PointerEvent(t, {clientX: c.getBoundingClientRect().left + x, clientY: c.getBoundingClientRect().top + 50, pointerId: 1, bubbles: true})); c.setPointerCapture = () => {}; e('pointerdown', 50); e('pointermove', 150); e('pointerup', 150); })()`, nil))
	if after := eval[[]float64](t, do, "onnxopt.offset()"); after[0]-before[0] < 90 {
		t.Errorf("dragging by 100 moves by %g", after[0]-before[0])
	}
	// The other graph, by its tab; removed nodes are marked there.
	do(chromedp.Click("#tabs button:first-child", chromedp.ByQuery))
	if got := eval[int](t, do, "onnxopt.graph"); got != 0 {
		t.Errorf("the tab shows graph %d", got)
	}
	shot(t, do, "before")
	for _, heading := range []string{"Cost by layer", "Memory over time", "Drift by layer", "Time by layer", "Ranges by layer", "Passes", "What was done, and what not"} {
		if !eval[bool](t, do, fmt.Sprintf("[...document.querySelectorAll('h2')].some(h => h.textContent === %q)", heading)) {
			t.Errorf("there is no part %q", heading)
		}
	}
	for _, u := range requests() {
		if !strings.HasPrefix(u, "file://") || !strings.HasSuffix(u, "/r.html") {
			t.Errorf("the page asks for %s", u)
		}
	}
	var pdf []byte
	do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		pdf, _, err = page.PrintToPDF().WithPrintBackground(true).Do(ctx)
		return err
	}))
	if len(pdf) < 20_000 {
		t.Errorf("the print has %d bytes", len(pdf))
	}
}

// TestLarge: 5,000 nodes are there within a second.
func TestLarge(t *testing.T) {
	chromium(t)
	var b strings.Builder
	b.WriteString("<ir_version: 8, opset_import: [\"\" : 17]>\ng (float[1,64] x0) => (float[1,64] y) {\n")
	for i := range 2500 {
		fmt.Fprintf(&b, "a%d = Relu (x%d)\nx%d = Add (a%d, x%d)\n", i, i, i+1, i, max(0, i-3))
	}
	b.WriteString("y = Neg (x2500)\n}\n")
	dir := t.TempDir()
	model, file := filepath.Join(dir, "m.onnxtxt"), filepath.Join(dir, "m.html")
	if err := os.WriteFile(model, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	run(t, "inspect", model, "--html", file)
	do, _ := open(t, file)
	if ms := eval[float64](t, do, "onnxopt.ready"); ms > 1000 {
		t.Errorf("the page is ready after %.0f ms", ms)
	} else {
		t.Logf("ready after %.0f ms", ms)
	}
	do(chromedp.SendKeys("#search", "x2400", chromedp.ByID), chromedp.SendKeys("#search", kb.Enter, chromedp.ByID))
	if ms := eval[float64](t, do, "(() => { const t = performance.now(); document.getElementById('search').dispatchEvent(new Event('input')); return performance.now() - t; })()"); ms > 200 {
		t.Errorf("a search takes %.0f ms", ms)
	}
	shot(t, do, "large")
}

// TestFront: what a search found, without a model.
func TestFront(t *testing.T) {
	chromium(t)
	dir := t.TempDir()
	front, file := filepath.Join(dir, "front.json"), filepath.Join(dir, "f.html")
	src := `{"metric": "top1", "best": 2, "front": [{"number": 1, "choices": "as it is", "loss": 0, "values": {"size": 100, "latency": 2.5}},
		{"number": 2, "choices": "<b>int8</b>", "loss": 0.5, "values": {"size": 30, "latency": 1}}, {"number": 3, "choices": "int4", "loss": 3, "values": {"size": 20, "latency": 1.5}}]}`
	if err := os.WriteFile(front, []byte(src), 0o666); err != nil {
		t.Fatal(err)
	}
	run(t, "inspect", "--front", front, "--html", file)
	do, _ := open(t, file)
	if got := eval[string](t, do, "document.querySelector('#front tr.best').textContent"); !strings.Contains(got, "<b>int8</b>") {
		t.Errorf("the best is %q", got)
	}
	if n := eval[int](t, do, "document.querySelectorAll('.plot svg').length"); n != 2 {
		t.Errorf("%d plots", n)
	}
	shot(t, do, "front")
}

// TestHostile: names of a model cannot become markup or script.
func TestHostile(t *testing.T) {
	chromium(t)
	dir := t.TempDir()
	model, file := filepath.Join(dir, "m.onnxtxt"), filepath.Join(dir, "m.html")
	evil := `</script><script>window.owned=1</script><img src=x onerror=window.owned=1>`
	src := fmt.Sprintf("<ir_version: 8, opset_import: [\"\" : 17]>\ng (float[1] x) => (float[1] y) {\n [%q] \"%s\" = Relu (x)\n y = Neg (\"%s\")\n}", evil, evil, evil)
	if err := os.WriteFile(model, []byte(src), 0o666); err != nil {
		t.Fatal(err)
	}
	run(t, "inspect", model, "--html", file)
	do, _ := open(t, file)
	do(chromedp.SendKeys("#search", "relu", chromedp.ByID), chromedp.SendKeys("#search", kb.Enter, chromedp.ByID))
	if !strings.Contains(text(t, do, "panel"), "<script>window.owned=1") {
		t.Error("the name is not shown as it is")
	}
	if eval[bool](t, do, "window.owned !== undefined || document.querySelectorAll('img').length > 0") {
		t.Error("a name became markup")
	}
}
