// Decoder writes a language model with random weights, as package internal/decoder describes it:
//
//	go run ./bench/quantize/decoder -o large.onnx
//
// The default has 4.2 GB of external data.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/onnxopt/onnxopt/internal/decoder"
	"github.com/onnxopt/onnxopt/onnxio"
)

func main() {
	c := decoder.Large()
	out := flag.String("o", "", "the file to write")
	flag.IntVar(&c.Layers, "layers", c.Layers, "number of layers")
	flag.IntVar(&c.Hidden, "hidden", c.Hidden, "size of a token's vector")
	flag.IntVar(&c.Inner, "inner", c.Inner, "size between the two products of a layer's second half")
	flag.IntVar(&c.Heads, "heads", c.Heads, "attention heads")
	flag.IntVar(&c.KVHeads, "kv-heads", c.KVHeads, "heads of keys and values")
	flag.IntVar(&c.Vocabulary, "vocabulary", c.Vocabulary, "number of tokens")
	flag.IntVar(&c.Length, "length", c.Length, "longest text")
	small := flag.Bool("small", false, "write the one that tests use")
	flag.Parse()
	if *small {
		c = decoder.Small()
	}
	if *out == "" || c.Heads < 1 || c.KVHeads < 1 || c.Hidden%c.Heads != 0 || c.Heads%c.KVHeads != 0 {
		fmt.Fprintln(os.Stderr, "decoder: -o FILE is needed, and sizes that divide: hidden by heads, heads by kv-heads")
		os.Exit(2)
	}
	if _, err := onnxio.WriteFile(*out, decoder.Model(c), onnxio.WriteOptions{}); err != nil {
		fmt.Fprintln(os.Stderr, "decoder:", err)
		os.Exit(1)
	}
}
