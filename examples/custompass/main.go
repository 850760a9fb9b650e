// Command custompass is onnxopt with one more pass, in a module of its own.
package main

import (
	"example.com/custompass/subneg"
	"github.com/onnxopt/onnxopt"
)

func main() { onnxopt.Main(subneg.Pass) }
