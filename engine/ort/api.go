package ort

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"
)

// The versions of the C API. A library of version 1.N has all of them up to N.
const (
	oldestAPI     = 17
	newestAPI     = 22 // the last one that has a function used here
	loadCancelAPI = 22
)

// The places of functions in struct OrtApi of onnxruntime_c_api.h, which never change.
const (
	fnGetErrorCode               = 1
	fnGetErrorMessage            = 2
	fnCreateEnv                  = 3
	fnDisableTelemetryEvents     = 6
	fnCreateSession              = 7
	fnCreateSessionFromArray     = 8
	fnRun                        = 9
	fnCreateSessionOptions       = 10
	fnEnableProfiling            = 14
	fnSetSessionLogSeverityLevel = 22
	fnSetGraphOptimizationLevel  = 23
	fnSetIntraOpNumThreads       = 24
	fnSetInterOpNumThreads       = 25
	fnCreateRunOptions           = 39
	fnRunOptionsSetTerminate     = 46
	fnCreateTensorAsOrtValue     = 48
	fnCreateTensorWithData       = 49
	fnGetTensorMutableData       = 51
	fnGetStringTensorDataLength  = 53
	fnGetStringTensorContent     = 54
	fnGetTensorElementType       = 60
	fnGetDimensionsCount         = 61
	fnGetDimensions              = 62
	fnGetTensorTypeAndShape      = 65
	fnGetValueType               = 67
	fnCreateCPUMemoryInfo        = 69
	fnGetDefaultAllocator        = 78
	fnGetValue                   = 80
	fnGetValueCount              = 81
	fnCreateValue                = 82
	fnReleaseStatus              = 93
	fnReleaseMemoryInfo          = 94
	fnReleaseSession             = 95
	fnReleaseValue               = 96
	fnReleaseRunOptions          = 97
	fnReleaseTensorTypeAndShape  = 99
	fnReleaseSessionOptions      = 100
	fnGetAvailableProviders      = 125
	fnReleaseAvailableProviders  = 126
	fnAddSessionConfigEntry      = 130
	fnCreateAndRegisterAllocator = 144
	fnAppendROCM                 = 153
	fnReleaseArenaCfg            = 157
	fnCreateArenaCfgV2           = 164
	fnAppendTensorRT             = 170
	fnCreateTensorRTOptions      = 171
	fnUpdateTensorRTOptions      = 172
	fnReleaseTensorRTOptions     = 174
	fnUnregisterAllocator        = 177
	fnHasValue                   = 192
	fnAppendCUDA                 = 204
	fnCreateCUDAOptions          = 205
	fnUpdateCUDAOptions          = 206
	fnReleaseCUDAOptions         = 208
	fnAppendProvider             = 216
	fnAppendCANN                 = 220
	fnCreateCANNOptions          = 221
	fnUpdateCANNOptions          = 222
	fnReleaseCANNOptions         = 224
	fnRegisterCustomOpsLibrary   = 228
	fnAppendDnnl                 = 239
	fnCreateDnnlOptions          = 240
	fnUpdateDnnlOptions          = 241
	fnReleaseDnnlOptions         = 243
	fnGetResizedStringElement    = 252
	fnCreateROCMOptions          = 255
	fnUpdateROCMOptions          = 256
	fnReleaseROCMOptions         = 258
	fnSetLoadCancellationFlag    = 293
)

// api is the table of functions of an opened library.
type api struct {
	table   unsafe.Pointer
	level   int    // the API version asked for
	version string // of the library, such as "1.32.0"
}

// openAPI opens the library at path and agrees with it on an API version. The library stays open: ONNX Runtime cannot be
// unloaded safely.
func openAPI(path string) (*api, error) {
	if loaderMissing != "" {
		return nil, errors.New(loaderMissing)
	}
	lib, err := loadLibrary(path)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened as a library: %w", path, err)
	}
	base, err := librarySymbol(lib, "OrtGetApiBase")
	if err != nil {
		return nil, fmt.Errorf("%s is not ONNX Runtime: it has no function OrtGetApiBase", path)
	}
	// struct OrtApiBase { const OrtApi* (*GetApi)(uint32_t); const char* (*GetVersionString)(void); }
	functions := (*[2]uintptr)(pointer(invoke(base)))
	a := &api{version: goString(invoke(functions[1]))}
	n, ok := apiLevel(a.version)
	if !ok || n < oldestAPI {
		return nil, fmt.Errorf("%s is ONNX Runtime %s, and 1.%d or later is needed: %s", path, a.version, oldestAPI, howToGet)
	}
	a.level = min(n, newestAPI)
	if a.table = pointer(invoke(functions[0], uintptr(a.level))); a.table == nil {
		return nil, fmt.Errorf("%s (ONNX Runtime %s) does not offer its API version %d", path, a.version, a.level)
	}
	return a, nil
}

// apiLevel is the newest API version of a library. Asking a library for a later one makes it print.
func apiLevel(version string) (int, bool) {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	if err != nil {
		return 0, false
	}
	if m, err := strconv.Atoi(major); err != nil || m < 1 {
		return 0, false
	} else if m > 1 {
		return newestAPI, true
	}
	return n, true
}

// call calls a function that does not fail.
func (a *api) call(fn int, args ...uintptr) uintptr {
	return invoke(*(*uintptr)(unsafe.Add(a.table, uintptr(fn)*unsafe.Sizeof(uintptr(0)))), args...)
}

// try calls a function that returns an OrtStatus.
func (a *api) try(fn int, args ...uintptr) error {
	status := a.call(fn, args...)
	if status == 0 {
		return nil
	}
	e := &Error{Code: int(int32(a.call(fnGetErrorCode, status))), Text: strings.TrimSpace(goString(a.call(fnGetErrorMessage, status)))}
	a.call(fnReleaseStatus, status)
	e.cause = causeOf(e.Text)
	return e
}

// release gives an object back to the library; 0 stands for none.
func (a *api) release(fn int, handle uintptr) {
	if handle != 0 {
		a.call(fn, handle)
	}
}

// providers lists the execution providers that the library was built with, in its order of preference.
func (a *api) providers() ([]string, error) {
	s := &scratch{}
	defer s.free()
	var list uintptr
	var n int32
	if err := a.try(fnGetAvailableProviders, addr(s, &list), addr(s, &n)); err != nil {
		return nil, err
	}
	names := make([]string, n)
	for i, p := range unsafe.Slice((*uintptr)(pointer(list)), n) {
		names[i] = goString(p)
	}
	return names, a.try(fnReleaseAvailableProviders, list, uintptr(n))
}
