//go:build amd64 || arm64

package ir

// unalignedLoads says that the processor loads numbers from any address, and Go's compiler uses no instruction that does not:
// weights then need no copy wherever they lie in a mapped file. (Protobuf aligns nothing.)
const unalignedLoads = true
