package jpeg2000

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"flag"
	"hash/fnv"
	"image"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var sweep = flag.String("sweep", "", "folder of files that testdata/make.py --sweep wrote")

// archive reads testdata/pictures.zip, which testdata/make.py writes.
func archive(t testing.TB) map[string][]byte {
	z, err := zip.OpenReader("testdata/pictures.zip")
	require.NoError(t, err)
	defer z.Close()
	files := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		files[f.Name], err = io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
	return files
}

func isPicture(name string) bool {
	return strings.HasSuffix(name, ".jp2") || strings.HasSuffix(name, ".j2k")
}

// difference is the largest one between the samples of planes and those in b.
func difference(t *testing.T, planes []plane, b []byte) (d int) {
	for _, p := range planes {
		for _, v := range p.samples {
			require.GreaterOrEqual(t, len(b), 2, "fewer samples are wanted")
			d = max(d, int(v)-int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b))-int(v))
			b = b[2:]
		}
	}
	require.Empty(t, b, "more samples are wanted")
	return d
}

// rgb are the colours of a picture.
func rgb(m image.Image) (r []byte) {
	switch m := m.(type) {
	case *image.Gray:
		for _, v := range m.Pix {
			r = append(r, v, v, v)
		}
	case *image.NRGBA:
		for i := 0; i < len(m.Pix); i += 4 {
			r = append(r, m.Pix[i:i+3]...)
		}
	}
	return r
}

// TestPictures decodes what OpenJPEG encoded, and codestreams made of that. Reversible ones come out bit by bit, the others within
// a step of OpenJPEG's own, which has another scale of the high-pass coefficients in the fifth digit.
func TestPictures(t *testing.T) {
	files := archive(t)
	n := 0
	for name, b := range files {
		if !isPicture(name) {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			stem, _, _ := strings.Cut(name, ".")
			f, err := readFile(b)
			require.NoError(t, err)
			planes, err := decode(f.codestream, 1<<20)
			require.NoError(t, err)
			tolerance := 0
			if strings.HasPrefix(name, "irreversible") {
				tolerance = 1
			}
			require.LessOrEqual(t, difference(t, planes, files[stem+".raw"]), tolerance)
			m, err := Decode(b, 1<<20)
			require.NoError(t, err)
			if want := files[name[:len(name)-4]+".rgb"]; want != nil {
				require.Equal(t, want, rgb(m))
			}
			c, err := DecodeConfig(b)
			require.NoError(t, err)
			require.Equal(t, m.Bounds(), image.Rect(0, 0, c.Width, c.Height))
		})
	}
	require.Greater(t, n, 50)
}

// TestPortable: every machine computes the same bits, of irreversible pictures as well. The hash was recorded on amd64.
func TestPortable(t *testing.T) {
	files := archive(t)
	bits := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if isPicture(name) && strings.HasPrefix(name, "irreversible") {
			planes, err := decode(files[name], 1<<20)
			require.NoError(t, err)
			for _, p := range planes {
				require.NoError(t, binary.Write(bits, binary.LittleEndian, p.samples))
			}
		}
	}
	require.Equal(t, uint64(0xc305f1cea5649a1d), bits.Sum64())
}

// TestSweep decodes random files.
func TestSweep(t *testing.T) {
	if *sweep == "" {
		t.Skip("left out: pictures of an encoder; testdata/make.py --sweep DIR FROM TO makes them, -sweep DIR reads them")
	}
	names, err := filepath.Glob(filepath.Join(*sweep, "*.j*"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		want, err := os.ReadFile(name[:len(name)-4] + ".raw")
		require.NoError(t, err)
		f, err := readFile(b)
		require.NoError(t, err, name)
		planes, err := decode(f.codestream, 1<<30)
		require.NoError(t, err, name)
		tolerance := 0
		if strings.Contains(filepath.Base(name), "-i.") {
			tolerance = 1
		}
		require.LessOrEqual(t, difference(t, planes, want), tolerance, name)
	}
	t.Logf("%d files", len(names))
}

// TestCutOff: whatever is missing at the end of a file is an error.
func TestCutOff(t *testing.T) {
	for name, b := range archive(t) {
		if !isPicture(name) || len(b) > 1<<10 {
			continue
		}
		for n := range b {
			_, err := Decode(b[:n], 1<<20)
			require.Error(t, err, "%s up to byte %d", name, n)
		}
	}
}

// TestOpenEnd: a last tile-part and a box may say no length; the part ends at EOC, the box at the end of the file.
func TestOpenEnd(t *testing.T) {
	b := archive(t)["jp2.jp2"]
	want, err := Decode(b, 1<<20)
	require.NoError(t, err)
	box, part := bytes.Index(b, []byte("jp2c"))-4, bytes.Index(b, []byte{markerSOT >> 8, markerSOT & 255, 0, 10})+6
	binary.BigEndian.PutUint32(b[box:], 0)
	binary.BigEndian.PutUint32(b[part:], 0)
	got, err := Decode(b, 1<<20)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = Decode(b[:len(b)-2], 1<<20)
	require.ErrorIs(t, err, errShort)
}

// TestEmptyPackets: a picture without any coefficients is grey, and hostile numbers of tiles and components take no time.
func TestEmptyPackets(t *testing.T) {
	b := archive(t)["grey.j2k"]
	at := bytes.Index(b, []byte{markerSOD >> 8, markerSOD & 255}) + 2
	levels := int(b[bytes.Index(b, []byte{markerCOD >> 8, markerCOD & 255})+9])
	b = append(bytes.Clone(b[:at]), make([]byte, levels+1)...) // a packet a resolution
	part := bytes.Index(b, []byte{markerSOT >> 8, markerSOT & 255, 0, 10})
	binary.BigEndian.PutUint32(b[part+6:], uint32(len(b)-part))
	b = append(b, markerEOC>>8, markerEOC&255)
	m, err := Decode(b, 1<<20)
	require.NoError(t, err)
	for _, v := range m.(*image.Gray).Pix {
		require.Equal(t, uint8(128), v)
	}

	// 255 by 257 tiles of one pixel, and components of which few tiles have a sample.
	const components = 64
	b = binary.BigEndian.AppendUint32(nil, markerSOC<<16|markerSIZ)
	b = binary.BigEndian.AppendUint16(b, 38+3*components)
	b = append(b, 0, 0)
	for _, n := range []uint32{255, 257, 0, 0, 1, 1, 0, 0} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = binary.BigEndian.AppendUint16(b, components)
	for range components {
		b = append(b, 7, 255, 255)
	}
	b = append(b, markerCOD>>8, markerCOD&255, 0, 12, 0, 0, 0, 1, 0, 32, 4, 4, 0, 1)
	b = append(b, markerQCD>>8, markerQCD&255, 0, 100, 0x40)
	b = append(b, bytes.Repeat([]byte{8 << 3}, 97)...)
	for i := range 255 * 257 {
		b = append(b, markerSOT>>8, markerSOT&255, 0, 10, byte(i>>8), byte(i), 0, 0, 0, 0, 0, 1, markerSOD>>8, markerSOD&255)
		body := 0
		if i == 0 || i == 255*255 { // (0, 0) and (0, 255)
			body = 33 * components
		}
		b = append(b, make([]byte, body)...)
		binary.BigEndian.PutUint32(b[len(b)-body-8:], uint32(14+body))
	}
	b = append(b, markerEOC>>8, markerEOC&255)
	start := time.Now()
	_, err = Decode(b, 1<<30)
	require.NoError(t, err)
	require.Less(t, time.Since(start), 20*time.Second)
}

// TestLimit: a picture that takes more than allowed is an error before the memory is taken, and none that takes less.
func TestLimit(t *testing.T) {
	b := archive(t)["plain.j2k"]
	failed, passed := false, false
	for limit := int64(0); limit < 1<<17; limit += 1 << 8 {
		_, err := Decode(b, limit)
		failed, passed = failed || err != nil, passed || err == nil
		require.Equal(t, passed, err == nil)
	}
	require.True(t, failed && passed)

	// 65535 by 65535 in a single tile, and in as many tiles as there may be.
	huge := bytes.Clone(b)
	for _, at := range []int{8, 12, 24, 28} {
		binary.BigEndian.PutUint32(huge[at:], 65535)
	}
	for range 2 {
		allocated := testing.AllocsPerRun(1, func() {
			_, err := Decode(huge, 1<<28)
			require.Error(t, err)
		})
		require.Less(t, allocated, 1000.0)
		binary.BigEndian.PutUint32(huge[24:], 257)
		binary.BigEndian.PutUint32(huge[28:], 257)
	}
}

// TestDamaged: whatever the bytes, decoding ends soon and without a panic.
func TestDamaged(t *testing.T) {
	files := archive(t)
	var names []string
	for name := range files {
		if isPicture(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	r := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		b := bytes.Clone(files[names[r.IntN(len(names))]])
		for range 1 + r.IntN(4) {
			at := r.IntN(len(b))
			if r.IntN(2) == 0 { // the headers
				at = r.IntN(min(len(b), 160))
			}
			b[at] = byte(r.Uint32())
		}
		start := time.Now()
		check(t, b)
		require.Less(t, time.Since(start), 20*time.Second)
	}
}

func check(t *testing.T, b []byte) {
	c, err := DecodeConfig(b)
	if err != nil {
		_, err := Decode(b, 1<<20)
		require.Error(t, err)
		return
	}
	if m, err := Decode(b, 1<<20); err == nil {
		require.Equal(t, m.Bounds(), image.Rect(0, 0, c.Width, c.Height))
	}
}

func FuzzDecode(f *testing.F) {
	for name, b := range archive(f) {
		if isPicture(name) && len(b) < 1000 {
			f.Add(b)
		}
	}
	f.Fuzz(check)
}

// TestTagTree reads the example of B.10.2: of a row of six values, 1 3 2 3 2 3 ..., the first ones.
func TestTagTree(t *testing.T) {
	// Figure B.13: 01111 is the first value, 001 the second, 101 the third and so on.
	h := &headerBits{in: &input{b: []byte{0b01111001, 0b10100000}}}
	tree := newTagTree(6, 3)
	value := func(leaf int) (v int) {
		for !tree.below(h, leaf, v+1) {
			v++
		}
		return v
	}
	require.Equal(t, []int{1, 3, 2}, []int{value(0), value(1), value(2)})
}

// TestRegion: coefficients of the region of interest are shifted back, those of the background stay.
func TestRegion(t *testing.T) {
	const shift = 4
	d := &blockDecoder{mags: []uint64{
		0, 15<<1 | 1, // background of at most four bits
		1<<shift<<1 | 1, 5<<shift<<1 | 1, // region, all planes
		5<<shift<<1 | 1<<shift,     // all planes of the region only
		4<<shift<<1 | 1<<(shift+2), // not even those: 4 to 7
	}}
	d.unshift(shift)
	require.Equal(t, []uint64{0, 15<<1 | 1, 1<<1 | 1, 5<<1 | 1, 5<<1 | 1, 4<<1 | 4}, d.mags)
}

func BenchmarkDecode(b *testing.B) {
	name := os.Getenv("JPEG2000_PICTURE")
	if name == "" {
		b.Skip("left out: no JPEG2000_PICTURE")
	}
	data, err := os.ReadFile(name)
	require.NoError(b, err)
	for b.Loop() {
		_, err := Decode(data, 1<<32)
		require.NoError(b, err)
	}
}
