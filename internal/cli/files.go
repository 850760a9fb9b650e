package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes/hook"
)

// input is an open model.
type input struct {
	name    string // for messages
	model   *ir.Model
	size    int64 // bytes of the file, without its data files
	remarks []string
	repro   *hook.Reproducer // the model came in a reproducer
	close   func() error
}

// fileError is what went wrong with a file.
type fileError struct {
	file string
	err  error
}

func (f *fileError) Error() string { return f.file + ": " + plain(f.err, f.file) }
func (f *fileError) Unwrap() error { return f.err }

// plain words an error without what the line already says: the operation and the file's name. Names of options in Go become
// those of the command line.
func plain(err error, file string) string {
	var p *fs.PathError
	if errors.As(err, &p) && (p.Path == file || isTemporary(p.Path)) {
		switch err = p.Err; {
		case errors.Is(err, fs.ErrNotExist):
			return absent(file)
		case errors.Is(err, fs.ErrPermission):
			return "permission denied"
		}
	}
	if errors.Is(err, syscall.ENOSPC) {
		return "the disk is full"
	}
	s := strings.TrimPrefix(err.Error(), file+": ")
	s = strings.ReplaceAll(s, "name one with DataDir", "name one with --data-dir")
	if errors.Is(err, fs.ErrNotExist) && strings.Contains(s, `data file "`) {
		s += "; it belongs beside the model, or --data-dir DIR says where it is"
	}
	if strings.Contains(s, "path escapes from parent") {
		s += "; --data-root DIR allows links to lead there"
	}
	return s
}

// absent says that a file is not there, and what stands beside it under nearly that name.
func absent(file string) string {
	dir, base := filepath.Split(file)
	if dir == "" {
		dir = "."
	}
	d, err := os.Open(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "there is no folder " + filepath.Clean(dir)
		}
		return "there is no such file"
	}
	defer d.Close()
	names, _ := d.Readdirnames(1000) // what could be read does for a hint
	ext := filepath.Ext(base)
	var stems []string // of files with the same extension: "nope.onnx" is not nearly "page.onnx" because of five equal letters
	for _, n := range names {
		switch {
		case strings.TrimSuffix(n, filepath.Ext(n)) == strings.TrimSuffix(base, ext) && strings.HasPrefix(filepath.Ext(n), ".onnx"):
			return fmt.Sprintf("there is no such file, did you mean %q?", filepath.Join(filepath.Clean(dir), n))
		case filepath.Ext(n) == ext:
			stems = append(stems, strings.TrimSuffix(n, ext))
		}
	}
	hint := ""
	if near := spell.Nearest(strings.TrimSuffix(base, ext), stems); near != "" {
		hint = fmt.Sprintf(", did you mean %q?", filepath.Join(filepath.Clean(dir), near+ext))
	}
	return "there is no such file" + hint
}

// isTemporary reports whether path is a name that a file has while it is written.
func isTemporary(path string) bool {
	base := filepath.Base(path)
	return strings.HasPrefix(base, ".") && strings.HasSuffix(base, ".tmp")
}

// standard is the name of standard input or output on the command line.
const standard = "-"

// open reads a model in either notation; the content tells which.
func (e *env) open(name string, f *fileFlags, freeze bool) (*input, error) {
	o := onnxio.Options{DataDir: f.dataDir, DataRoot: f.dataRoot, FreezeDefaults: freeze}
	in, err := e.read(name, o)
	if err != nil {
		if name == standard {
			name = "standard input"
		}
		return nil, &fileError{name, err}
	}
	e.tune(in.model)
	return in, nil
}

func (e *env) read(name string, o onnxio.Options) (*input, error) {
	if name == standard {
		b, err := io.ReadAll(e.stdin)
		if err != nil {
			return nil, err
		}
		if len(b) == 0 {
			return nil, errors.New("nothing came through the pipe")
		}
		return parse("standard input", b, o)
	}
	head, size, err := peek(name)
	if err != nil {
		return nil, err
	}
	if looksTextual(head) {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if o.DataDir == "" {
			o.DataDir = filepath.Dir(name)
		}
		return parse(name, b, o)
	}
	m, err := onnxio.Open(name, o)
	if err != nil {
		return nil, explain(head, err)
	}
	return &input{name: name, model: m.Model, size: size, remarks: m.Remarks, close: m.Close}, nil
}

// parse reads a model from memory.
func parse(name string, b []byte, o onnxio.Options) (*input, error) {
	in := &input{name: name, size: int64(len(b)), close: func() error { return nil }}
	head := b[:min(len(b), headSize)]
	var err error
	switch {
	case hook.IsReproducer(b):
		if in.repro, err = hook.ReadReproducer(b); err == nil {
			in.model = in.repro.Model
		}
	case looksTextual(head):
		data := onnxio.NewDataFiles(o)
		in.close = data.Close
		if in.model, err = text.ParseWith(b, text.ReadOptions{External: data.Payload}); err == nil {
			data.Attach(in.model)
		}
		if err == nil && o.FreezeDefaults {
			freeze(in.model)
		}
		if err != nil && !text.Looks(b) {
			err = explain(head, fmt.Errorf("this is text, but no model in ONNX's textual syntax (%w)", err))
		}
	default:
		var m *onnxio.File
		if m, err = onnxio.Read(b, o); err == nil {
			in.model, in.remarks, in.close = m.Model, m.Remarks, m.Close
		} else {
			err = explain(head, err)
		}
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// freeze makes inputs with a default constants, as onnxio does for models in protobuf.
func freeze(m *ir.Model) {
	for i := len(m.Main.Inputs()) - 1; i >= 0; i-- {
		v := m.Main.Inputs()[i].Value()
		if t := v.Default(); t != nil {
			c := m.Main.NamedConst(v.Name(), t)
			c.Meta = v.Meta
			v.ReplaceUses(c)
			m.Main.RemoveInput(i)
		}
	}
}

// headSize is how much of a file tells its format.
const headSize = 1 << 10

// peek reads the beginning of a regular file.
func peek(name string) (head []byte, size int64, err error) {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, 0, err
	case st.IsDir():
		return nil, 0, errors.New("this is a directory; name the model file in it")
	case !st.Mode().IsRegular(): // opening a FIFO would wait for a writer
		return nil, 0, errors.New("this is no regular file; pipe it through standard input: -")
	case st.Size() == 0:
		return nil, 0, errors.New("the file is empty")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	head = make([]byte, min(headSize, st.Size()))
	n, err := io.ReadFull(f, head)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], st.Size(), err
}

// looksTextual reports whether b, the beginning of a file, is text. A model in protobuf begins with a control character.
func looksTextual(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != '\v' {
			return false
		}
	}
	return true
}

// foreign lists beginnings of files that people take for ONNX models.
var foreign = []struct {
	at    int
	magic string
	text  string
}{
	{0, "PK\x03\x04", "this is a zip archive, as PyTorch's torch.save writes: export the model with torch.onnx.export"},
	{0, "\x80\x02", "this is a Python pickle, as older PyTorch writes: export the model with torch.onnx.export"},
	{0, "\x89HDF", "this is an HDF5 file, as Keras writes: convert it with tf2onnx"},
	{4, "TFL3", "this is a TensorFlow Lite model: convert it with tf2onnx"},
	{4, "ORTM", "this is a model in ONNX Runtime's own format: take the .onnx file it was made of"},
	{8, `{"`, "this is a safetensors file, which has weights only: export the model to ONNX"},
	{0, "GGUF", "this is a GGUF file, which is no ONNX model"},
	{0, "\x1f\x8b", "this is compressed with gzip: gunzip -c FILE | onnxopt - ..."},
	{0, "\x28\xb5\x2f\xfd", "this is compressed with zstd: zstd -dc FILE | onnxopt - ..."},
	{0, "\x93NUMPY", "this is a NumPy array"},
	{0, "version https://git-lfs", "this is a pointer of Git LFS, not the file itself: git lfs pull"},
	{0, "<?xml", "this is XML, as OpenVINO writes: take the ONNX model it was made of"},
	{0, "<!DOCTYPE", "this is a web page: the download did not give the file"},
	{0, "<html", "this is a web page: the download did not give the file"},
	{0, "{", "this is JSON"},
}

// explain says what a file is that could not be read, if it is something known.
func explain(head []byte, err error) error {
	for _, f := range foreign {
		if len(head) > f.at && bytes.HasPrefix(head[f.at:], []byte(f.magic)) {
			return errors.New(f.text)
		}
	}
	return err
}

// checkOutput finds out before the work whether a file can be written at all.
func checkOutput(name string) error {
	if name == standard || name == "" {
		return nil
	}
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return &fileError{name, errors.New("this is a directory; name a file in it")}
	}
	dir := filepath.Dir(name)
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &fileError{name, fmt.Errorf("there is no folder %s", dir)}
	case err != nil:
		return &fileError{name, err}
	case !st.IsDir():
		return &fileError{name, fmt.Errorf("%s is no folder", dir)}
	}
	return nil
}

// atomically writes a file so that it is whole or not there: under another name first.
func atomically(name string, write func(io.Writer) error) (err error) {
	temp := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%08x.tmp", filepath.Base(name), rand.Uint32()))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return &fileError{name, err}
	}
	b := bufio.NewWriterSize(f, 1<<16)
	err = write(b)
	if err == nil {
		err = b.Flush()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		os.Remove(temp)
		return &fileError{name, err}
	}
	return nil
}

// writeModel writes m to a file or standard output in the notation that format or the name's extension says, and returns the size of
// the model without data files.
func (e *env) writeModel(name, format string, m *ir.Model, o onnxio.WriteOptions) (*onnxio.Written, error) {
	format = formatOf(name, format)
	if name == standard {
		done, err := e.stream(format, m, o)
		if err != nil {
			err = &fileError{"standard output", err}
		}
		return done, err
	}
	if format == "text" {
		done := &onnxio.Written{}
		if o.Data == onnxio.DataKeep { // the text names the data files
			var err error
			if done.Data, err = onnxio.CopyData(filepath.Dir(name), m, o); err != nil {
				return nil, &fileError{name, err}
			}
		}
		return done, atomically(name, func(w io.Writer) error { return printText(w, m, o, done) })
	}
	done, err := onnxio.WriteFile(name, m, o)
	if err != nil {
		return nil, &fileError{name, err}
	}
	return done, nil
}

// stream is writeModel for standard output.
func (e *env) stream(format string, m *ir.Model, o onnxio.WriteOptions) (*onnxio.Written, error) {
	done := &onnxio.Written{}
	if format == "text" {
		return done, errors.Join(printText(e.stdout, m, o, done), e.stdout.Flush())
	}
	done, err := onnxio.Write(e.stdout, m, o)
	return done, errors.Join(err, e.stdout.Flush())
}

// printText prints m. Weights that lie in data files are printed like others unless they are to stay where they are.
func printText(w io.Writer, m *ir.Model, o onnxio.WriteOptions, done *onnxio.Written) error {
	c := &counter{w: w, stop: o.Stop}
	err := text.Print(c, m, text.Options{Inline: o.Data != onnxio.DataKeep})
	if err == nil {
		_, err = io.WriteString(c, "\n")
	}
	done.Bytes = c.n
	return err
}

// counter counts what goes through, until it is stopped.
type counter struct {
	w    io.Writer
	n    int64
	stop func() error
}

func (c *counter) Write(b []byte) (int, error) {
	if err := c.stop(); err != nil {
		return 0, err
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// formatOf is the notation that --format says, or the name's extension.
func formatOf(name, format string) string {
	if format != "" {
		return format
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".onnxtxt", ".txt":
		return "text"
	}
	return "onnx"
}
