// Command onnxopt optimizes ONNX models. See package onnxopt, or onnxopt --help.
package main

import "github.com/onnxopt/onnxopt"

func main() { onnxopt.Main() }
