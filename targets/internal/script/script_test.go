package script

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hostile are names that would end a literal, or run something, if they were written as they are.
var hostile = []string{
	"", "plain", `"; import os; os.system("touch owned"); "`, `'; touch owned; '`, "$(touch owned)", "`touch owned`", "a\nimport os", `\`, `\" + x`, "é 漢 \u2028", "\x00\x1b[2J", "${IFS}", "%s%n",
}

func TestShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("left out: there is no sh on the PATH, as on Windows by itself")
	}
	for _, s := range hostile {
		if s == "\x00\x1b[2J" { // no argument of a program holds a zero byte
			continue
		}
		out, err := exec.Command(sh, "-c", "printf %s "+Shell(s)).Output()
		require.NoError(t, err, "%q", s)
		assert.Equal(t, s, string(out))
	}
}

func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("left out: there is no python3 on the PATH; the system's package manager has it")
	}
	cmd := exec.Command(python, "-c", "import sys\nsys.stdout.buffer.write('\\x01'.join("+PythonList(hostile)[:]+").encode())")
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	require.NoError(t, err)
	want := ""
	for i, s := range hostile {
		if i > 0 {
			want += "\x01"
		}
		want += s
	}
	assert.Equal(t, want, string(out))
}

func TestComment(t *testing.T) {
	assert.Equal(t, "a b  c", Comment("a\nb\r\u2028c"))
}
