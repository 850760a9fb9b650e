package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

// table prints rows as they come, and sums.
type table struct{ counts map[string]*count }

type count struct{ emitted, loads, ran, agrees, of int }

func newTable(head bool) *table {
	if head {
		line(targettest.Header())
	}
	return &table{map[string]*count{}}
}

func line(cells []string) {
	for i, width := range []int{-26, -12, -8, -6, 11, 8, 7, 12} {
		fmt.Printf("%*s ", width, cells[i])
	}
	fmt.Println(" " + cells[8])
}

func (t *table) add(r *targettest.Row) {
	k := t.counts[r.Target]
	if k == nil {
		k = &count{}
		t.counts[r.Target] = k
	}
	k.of++
	for n, yes := range map[*int]bool{&k.emitted: r.Emitted, &k.loads: r.Loads, &k.ran: r.Ran, &k.agrees: r.Agrees} {
		if yes {
			*n++
		}
	}
	s := *r
	if why := []rune(s.Why); len(why) > 100 {
		s.Why = string(why[:100]) + "..."
	}
	line(s.Cells())
}

func (t *table) sums() {
	fmt.Println()
	for _, d := range all.Targets() {
		k := t.counts[d.Name]
		switch {
		case k == nil:
		case k.ran == 0: // what builds only
			fmt.Printf("%-12s %d models, %d written, %d load\n", d.Name, k.of, k.emitted, k.loads)
		default:
			fmt.Printf("%-12s %d models, %d written, %d load, %d agree\n", d.Name, k.of, k.emitted, k.loads, k.agrees)
		}
	}
}

// reprint prints the table of rows in JSON lines, by model.
func reprint(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	rows := map[[2]string]*targettest.Row{}
	var models []string
	seen := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		r := &targettest.Row{}
		if err := json.Unmarshal(s.Bytes(), r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		rows[[2]string{r.Model, r.Target}] = r
		if !seen[r.Model] {
			seen[r.Model] = true
			models = append(models, r.Model)
		}
	}
	t := newTable(true)
	for _, m := range models {
		for _, d := range all.Targets() {
			if r := rows[[2]string{m, d.Name}]; r != nil {
				t.add(r)
			}
		}
	}
	t.sums()
	return nil
}
