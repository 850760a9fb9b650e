package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestInterruptedCalibrationIsNamed: what an interrupt leaves is said, and only where it is there.
func TestInterruptedCalibrationIsNamed(t *testing.T) {
	j := &job{f: &optimizeFlags{}}
	require.Equal(t, context.Canceled, j.stopped(context.Canceled))
	j.f.calib.out = filepath.Join(t.TempDir(), "ranges.json")
	require.Equal(t, context.Canceled, j.stopped(context.Canceled))
	require.NoError(t, os.WriteFile(j.f.calib.out+partial, nil, 0o666))
	err := j.stopped(context.Canceled)
	require.ErrorContains(t, err, "the calibration so far is in "+j.f.calib.out+partial)
	require.ErrorIs(t, err, context.Canceled)
}
