// Package spell finds the nearest of some known words, for error messages.
package spell

// Nearest is the known word closest to s, "" if none is close. Closeness is the Damerau-Levenshtein distance (optimal string
// alignment; Damerau, CACM 7(3), 1964) of at most a third of the length, at least 2.
func Nearest(s string, known []string) string {
	best, at := "", max(2, len(s)/3)+1
	for _, k := range known {
		if d := distance(s, k); d < at || d == at && best != "" && k < best {
			best, at = k, d
		}
	}
	return best
}

// Hint is `, did you mean "x"?` or nothing.
func Hint(s string, known []string) string {
	if k := Nearest(s, known); k != "" {
		return `, did you mean "` + k + `"?`
	}
	return ""
}

func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 1 << 20
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		two, one, cur := rows[(i+2)%3], rows[i%3], rows[(i+1)%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(one[j]+1, cur[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], two[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
