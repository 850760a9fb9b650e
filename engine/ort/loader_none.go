//go:build static || !(linux || darwin || windows) || !(amd64 || arm64)

package ort

import "errors"

// loaderMissing says why this build opens no libraries.
const loaderMissing = "this build of the program cannot open ONNX Runtime, because it is linked statically or its platform has no support; use the dynamically linked one"

var errNoLoader = errors.New(loaderMissing)

func loadLibrary(string) (uintptr, error) { return 0, errNoLoader }

func librarySymbol(uintptr, string) (uintptr, error) { return 0, errNoLoader }

// invoke is never reached, because no library was opened.
func invoke(uintptr, ...uintptr) uintptr { panic(loaderMissing) }

func systemNames() []string { return nil }

func apiPath(path string) ([]byte, error) { return cString(path) }
