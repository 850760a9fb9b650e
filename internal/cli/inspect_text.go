package cli

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

// hashedElements is how many elements of a constant --text shows.
const hashedElements = 16

// inspectText prints the model so that two of these texts differ where the models do.
func (e *env) inspectText(ctx context.Context, in *input) error {
	err := onnxio.Guard(func() error {
		if err := text.Print(e.stdout, in.model, text.Options{MaxElements: hashedElements, Inline: true}); err != nil {
			return err
		}
		fmt.Fprint(e.stdout, "\n\n# constants\n")
		for _, g := range in.model.Graphs() {
			if err := ctx.Err(); err != nil {
				return err
			}
			for _, v := range g.Consts() {
				if err := hashLine(e.stdout, v.Name(), v.Const()); err != nil {
					return err
				}
			}
			for n := range g.Nodes() {
				for _, a := range n.Attrs() {
					if t := a.Tensor(); t != nil {
						if err := hashLine(e.stdout, fmt.Sprintf("%s of %s", a.Name, nodeLabel(n)), t); err != nil {
							return err
						}
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return &fileError{in.name, err}
	}
	return nil
}

func nodeLabel(n *ir.Node) string {
	if n.NumResults() > 0 && n.Result(0) != nil && n.Result(0).Name() != "" {
		return n.Result(0).Name()
	}
	return n.Name()
}

// hashLine prints the hash of a constant of more elements than are shown.
func hashLine(w io.Writer, name string, t *ir.Tensor) error {
	if t.Len() <= hashedElements {
		return nil
	}
	h := sha256.New()
	if t.DType() == ir.String {
		words, err := t.Strings()
		if err != nil {
			return err
		}
		for _, s := range words {
			fmt.Fprintf(h, "%d:%s", len(s), s)
		}
	} else {
		b, err := t.Bytes()
		if err != nil {
			return err
		}
		h.Write(b)
	}
	_, err := fmt.Fprintf(w, "# %x %s %q\n", h.Sum(nil)[:12], t.Type(), name)
	return err
}
