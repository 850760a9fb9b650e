"""Writes numpy.npz: arrays as NumPy 2.4 saves them, which npz_test.go expects to be 0, 1, 2, ... of shape [2, 3]."""
import numpy as np

a = np.arange(6).reshape(2, 3)
arrays = {t: a.astype(t) for t in ('i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16')}
arrays |= {t: a.astype(t) for t in ('>i2', '>i8', '>f2', '>f4', '>f8', '>c8', '>u4')}
arrays |= {'fortran': np.asfortranarray(a.astype('f4')), 'fortran_big': np.asfortranarray(a.astype('>i4')), 'b1': a > 2}
arrays |= {'U': np.array([['a', 'Ünï', ''], ['\U0001f600', 'b', 'abc']]), 'S': np.array([[b'a', b'bc', b'']]), 'scalar': np.float32(7), 'empty': np.zeros((0, 4), 'f4')}
np.savez_compressed('numpy.npz', **arrays)
