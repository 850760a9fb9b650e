// Package npz reads and writes NumPy's files of arrays: .npy holds one array, .npz is a zip archive of them.
//
// The format is described in NumPy's numpy/lib/format.py. Arrays of Python objects are pickles, which could run code; they are
// refused. Element types that NumPy does not have (bfloat16, float8, and integers below eight bits) are written as the
// smallest type of NumPy that holds every value; see [Widen].
package npz
