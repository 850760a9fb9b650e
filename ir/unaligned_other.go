//go:build !amd64 && !arm64

package ir

const unalignedLoads = false
