package ort

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"
)

// scratch keeps what a call of the library points to: pinned, and alive until free.
type scratch struct{ pin runtime.Pinner }

// free ends the use of everything that was handed out.
func (s *scratch) free() { s.pin.Unpin() }

// addr is the address of *p, which moves nowhere until s is freed.
func addr[T any](s *scratch, p *T) uintptr {
	s.pin.Pin(p)
	return uintptr(unsafe.Pointer(p))
}

// first is the address of x's first element, 0 if there is none.
func first[T any](s *scratch, x []T) uintptr {
	if len(x) == 0 {
		return 0
	}
	return addr(s, unsafe.SliceData(x))
}

// text is x as a C string.
func (s *scratch) text(x string) (uintptr, error) {
	b, err := cString(x)
	if err != nil {
		return 0, err
	}
	return addr(s, &b[0]), nil
}

// texts is an array of C strings; 0 for an empty one.
func (s *scratch) texts(x []string) (uintptr, error) {
	p := make([]uintptr, len(x))
	for i := range x {
		var err error
		if p[i], err = s.text(x[i]); err != nil {
			return 0, err
		}
	}
	return first(s, p), nil
}

// path is a path as the C API takes it.
func (s *scratch) path(x string) (uintptr, error) {
	b, err := apiPath(x)
	if err != nil {
		return 0, err
	}
	return addr(s, &b[0]), nil
}

// cString is x and a NUL.
func cString(x string) ([]byte, error) {
	if strings.IndexByte(x, 0) >= 0 {
		return nil, fmt.Errorf("%q has a zero byte, which the C API cannot take", x)
	}
	return append([]byte(x), 0), nil
}

// pointer is the address p of memory that the library owns. The detour tells vet that p is no address of a Go object.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// goString copies a C string.
func goString(p uintptr) string {
	if p == 0 {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(pointer(p)), n))
}
