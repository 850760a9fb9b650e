package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 9999: "9999 B", 10_000: "10.0 kB", 999_949: "999.9 kB", 999_950: "1.00 MB", 1_270_727: "1.27 MB",
		2_018_400_745: "2.02 GB", 1 << 62: "4611686 TB", -26_500: "-26.5 kB",
	} {
		require.Equal(t, want, bytesText(n))
	}
	require.Equal(t, "5998", countText(5998))
	require.Equal(t, "786.6 k", countText(786_560))
	require.Equal(t, "-24.2 %", change(211, 160))
	require.Equal(t, "-1", change(1_000_000, 999_999))
	require.Equal(t, "", change(3, 3))
	require.Equal(t, "", change(0, 3))
	require.Equal(t, "-50.0 %", sum{known: 4}.change(sum{known: 2}))
	require.Equal(t, "", sum{known: 4}.change(sum{2, 1}))
	require.Equal(t, "", sum{4, 1}.change(sum{known: 2}))
}

func TestTable(t *testing.T) {
	tab := table{right: []int{1}}
	tab.row("a", "1", "x")
	tab.row("bcd", "100", "")
	tab.row("≥", "", "y")
	var b strings.Builder
	tab.write(&b, " ")
	require.Equal(t, " a      1  x\n bcd  100\n ≥         y\n", b.String())
}

func TestWrap(t *testing.T) {
	require.Equal(t, "one two\n  three", wrap("one two three", 2, 10))
	require.Equal(t, "", wrap("", 2, 10))
	require.Equal(t, "averylongword\n  x", wrap("averylongword x", 2, 10))
}

func TestBudget(t *testing.T) {
	b := &budget{}
	require.NoError(t, b.Set("3s"))
	require.NoError(t, b.Set("256M"))
	require.Equal(t, "3s,256M", b.String())
	require.NoError(t, b.Set("1m,1G"))
	require.Equal(t, "1m0s,1G", b.String())
	for _, bad := range []string{"", "0", "-1s", "x,1G", "1s,,1G"} {
		require.Error(t, b.Set(bad), bad)
	}
}
