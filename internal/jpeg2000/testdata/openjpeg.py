"""OpenJPEG by ctypes, from the library that Pillow carries: encode() and decode() of whole pictures. make.py needs it, no Go test does.

A picture is a list of components: dicts of samples (a numpy array of integers), depth, signed, dx and dy.
"""
import ctypes as c
import glob
import os
import tempfile

import numpy as np
import PIL


def library():
    folder = os.path.join(os.path.dirname(os.path.dirname(PIL.__file__)), "pillow.libs")
    lib = c.CDLL(glob.glob(os.path.join(folder, "libopenjp2*"))[0])
    for name in ["opj_create_compress", "opj_create_decompress", "opj_image_create", "opj_stream_create_default_file_stream"]:
        getattr(lib, name).restype = c.c_void_p
    return lib


opj = library()
SRGB, GREY = 1, 2  # colour spaces


class POC(c.Structure):
    _fields_ = [(n, c.c_uint32) for n in "resno0 compno0 layno1 resno1 compno1 layno0 precno0 precno1".split()] + [
        ("prg1", c.c_int), ("prg", c.c_int), ("progorder", c.c_char * 5), ("tile", c.c_uint32),
    ] + [(n, c.c_uint32) for n in "tx0 tx1 ty0 ty1 layS resS compS prcS layE resE compE prcE txS txE tyS tyE dx dy lay_t res_t comp_t prc_t tx0_t ty0_t".split()]


class Parameters(c.Structure):  # opj_cparameters_t
    _fields_ = [(n, c.c_int) for n in "tile_size_on cp_tx0 cp_ty0 cp_tdx cp_tdy cp_disto_alloc cp_fixed_alloc cp_fixed_quality".split()] + [
        ("cp_matrice", c.c_void_p), ("cp_comment", c.c_char_p), ("csty", c.c_int), ("prog_order", c.c_int),
        ("POC", POC * 32), ("numpocs", c.c_uint32), ("tcp_numlayers", c.c_int), ("tcp_rates", c.c_float * 100),
        ("tcp_distoratio", c.c_float * 100), ("numresolution", c.c_int), ("cblockw_init", c.c_int), ("cblockh_init", c.c_int),
        ("mode", c.c_int), ("irreversible", c.c_int), ("roi_compno", c.c_int), ("roi_shift", c.c_int), ("res_spec", c.c_int),
        ("prcw_init", c.c_int * 33), ("prch_init", c.c_int * 33), ("infile", c.c_char * 4096), ("outfile", c.c_char * 4096),
        ("index_on", c.c_int), ("index", c.c_char * 4096), ("image_offset_x0", c.c_int), ("image_offset_y0", c.c_int),
        ("subsampling_dx", c.c_int), ("subsampling_dy", c.c_int), ("decod_format", c.c_int), ("cod_format", c.c_int),
        ("jpwl", c.c_int * (1 + 1 + 16 * 2 + 16 * 3 + 3 + 1 + 16 * 2)),
        ("cp_cinema", c.c_int), ("max_comp_size", c.c_int), ("cp_rsiz", c.c_int), ("tp_on", c.c_char), ("tp_flag", c.c_char),
        ("tcp_mct", c.c_char), ("jpip_on", c.c_int), ("mct_data", c.c_void_p), ("max_cs_size", c.c_int), ("rsiz", c.c_uint16),
    ]


class ComponentParameters(c.Structure):
    _fields_ = [(n, c.c_uint32) for n in "dx dy w h x0 y0 prec bpp sgnd".split()]


class Component(c.Structure):
    _fields_ = [(n, c.c_uint32) for n in "dx dy w h x0 y0 prec bpp sgnd resno_decoded factor".split()] + [("data", c.POINTER(c.c_int32)), ("alpha", c.c_uint16)]


class Image(c.Structure):
    _fields_ = [(n, c.c_uint32) for n in "x0 y0 x1 y1 numcomps".split()] + [
        ("color_space", c.c_int), ("comps", c.POINTER(Component)), ("icc", c.c_void_p), ("icc_len", c.c_uint32)]


def encode(components, width, height, *, x0=0, y0=0, jp2=False, space=0, layers=(0,), **options):
    """The bytes of a picture at (x0, y0) of the reference grid; layers are compression ratios, 0 is lossless. Options are those of
    Parameters; tile=(x0, y0, w, h), precincts=[(w, h), ...] and poc=[dict, ...] are in short."""
    p = Parameters()
    opj.opj_set_default_encoder_parameters(c.byref(p))
    p.cp_comment = b""
    p.tcp_numlayers, p.cp_disto_alloc = len(layers), 1
    for i, r in enumerate(layers):
        p.tcp_rates[i] = r
    if tile := options.pop("tile", None):
        p.tile_size_on, p.cp_tx0, p.cp_ty0, p.cp_tdx, p.cp_tdy = 1, *tile
    for i, (w, h) in enumerate(precincts := options.pop("precincts", [])):
        p.prcw_init[i], p.prch_init[i] = w, h
        p.res_spec, p.csty = len(precincts), p.csty | 1
    for i, poc in enumerate(options.pop("poc", [])):
        p.numpocs = i + 1
        for k, v in poc.items():
            setattr(p.POC[i], k, v)
    p.csty |= options.pop("csty", 0)
    p.image_offset_x0, p.image_offset_y0 = x0, y0
    for k, v in options.items():
        assert hasattr(p, k), k
        setattr(p, k, v)
    parts = (ComponentParameters * len(components))()
    for part, k in zip(parts, components):
        dx, dy = k.get("dx", 1), k.get("dy", 1)
        h, w = k["samples"].shape
        part.dx, part.dy, part.w, part.h, part.x0, part.y0 = dx, dy, w, h, x0, y0
        part.prec = part.bpp = k["depth"]
        part.sgnd = k.get("signed", False)
    m = c.cast(opj.opj_image_create(len(components), parts, space), c.POINTER(Image))
    m.contents.x0, m.contents.y0, m.contents.x1, m.contents.y1 = x0, y0, x0 + width, y0 + height
    for i, k in enumerate(components):
        a = np.ascontiguousarray(k["samples"], np.int32)
        c.memmove(m.contents.comps[i].data, a.ctypes.data, a.nbytes)
    codec = c.c_void_p(opj.opj_create_compress(2 if jp2 else 0))
    with tempfile.NamedTemporaryFile() as f:
        ok = opj.opj_setup_encoder(codec, c.byref(p), m)
        if ok:
            stream = c.c_void_p(opj.opj_stream_create_default_file_stream(f.name.encode(), 0))
            ok = opj.opj_start_compress(codec, m, stream) and opj.opj_encode(codec, stream) and opj.opj_end_compress(codec, stream)
            opj.opj_stream_destroy(stream)
        opj.opj_destroy_codec(codec)
        opj.opj_image_destroy(m)
        if not ok:
            raise ValueError("OpenJPEG does not encode this")
        return open(f.name, "rb").read()


def decode(data):
    """The components of a file."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        stream = c.c_void_p(opj.opj_stream_create_default_file_stream(f.name.encode(), 1))
        codec = c.c_void_p(opj.opj_create_decompress(0 if data[:2] == b"\xff\x4f" else 2))
        p = c.create_string_buffer(1 << 16)
        opj.opj_set_default_decoder_parameters(p)
        opj.opj_setup_decoder(codec, p)
        opj.opj_decoder_set_strict_mode(codec, 1)
        m = c.POINTER(Image)()
        ok = opj.opj_read_header(stream, codec, c.byref(m)) and opj.opj_decode(codec, stream, m) and opj.opj_end_decompress(codec, stream)
        if not ok:
            raise ValueError("OpenJPEG does not decode this")
        r = []
        for i in range(m.contents.numcomps):
            k = m.contents.comps[i]
            a = np.ctypeslib.as_array(k.data, (k.h, k.w)).copy() if k.h * k.w else np.zeros((k.h, k.w), np.int32)
            r.append({"samples": a, "depth": k.prec, "signed": bool(k.sgnd), "dx": k.dx, "dy": k.dy})
        opj.opj_image_destroy(m)
        opj.opj_stream_destroy(stream)
        opj.opj_destroy_codec(codec)
        return r
