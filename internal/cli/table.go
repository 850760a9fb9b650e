package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table prints rows in columns. Columns listed in right are right-aligned; the last column is never padded.
type table struct {
	rows  [][]string
	right []int
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the rows, each behind margin, columns two blanks apart.
func (t *table) write(w io.Writer, margin string) {
	var width []int
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range t.rows {
		var b strings.Builder
		b.WriteString(margin)
		for i, c := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if t.isRight(i) {
				b.WriteString(pad + c)
			} else {
				b.WriteString(c + pad)
			}
			if i < len(r)-1 {
				b.WriteString("  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

func (t *table) isRight(col int) bool {
	for _, c := range t.right {
		if c == col {
			return true
		}
	}
	return false
}

// bytesText is a size for people: 26.5 kB, powers of 1000.
func bytesText(n int64) string { return scaled(n, "B") }

// countText is a count for people: 1.27 M.
func countText(n int64) string { return strings.TrimSuffix(scaled(n, ""), " ") }

func scaled(n int64, unit string) string {
	f, sign := float64(n), ""
	if n < 0 {
		f, sign = -f, "-"
	}
	if f < 10_000 {
		return fmt.Sprintf("%d %s", n, unit)
	}
	for _, p := range []string{"k", "M", "G", "T"} {
		if f /= 1000; f < 999.95 || p == "T" {
			return sign + fmt.Sprintf("%.*f %s%s", decimals(f), f, p, unit)
		}
	}
	return ""
}

// decimals keeps three or four digits.
func decimals(f float64) int {
	switch {
	case f < 10:
		return 2
	case f < 1000:
		return 1
	}
	return 0
}
