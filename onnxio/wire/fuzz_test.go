package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzFields: the fields of a message are the message, and one laid out anew from its source is the same bytes.
func FuzzFields(f *testing.F) {
	f.Add([]byte{0x08, 0x01, 0x12, 0x02, 'a', 'b', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0x0b, 0x08, 0x01, 0x0c})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var whole []byte
		for x, err := range Fields(b) {
			if err != nil {
				return
			}
			whole = append(whole, x.Raw...)
			if x.IsBytes() {
				require.LessOrEqual(t, len(x.Body), len(x.Raw))
				_, _ = Ints(nil, x)
				_, _ = Floats(nil, x)
			}
		}
		require.True(t, bytes.Equal(whole, b))
		r := NewMessage(b).Rope()
		out, err := r.Bytes()
		require.NoError(t, err)
		require.True(t, bytes.Equal(out, b))
	})
}
