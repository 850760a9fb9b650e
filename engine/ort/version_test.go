package ort

import "testing"

func TestAPILevel(t *testing.T) {
	for version, want := range map[string]int{"1.17.3": 17, "1.32.0": 32, "1.8": 8, "2.0.1": newestAPI, "0.9.0": -1, "": -1, "1.x": -1} {
		if got, ok := apiLevel(version); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %v", version, got, ok)
		}
	}
}
