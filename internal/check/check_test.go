package check

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

const text = `a = Conv (x, w)
b = Relu (a)
c = Conv (b, w)
y = Neg (c)
`

func TestLines(t *testing.T) {
	for checks, want := range map[string]string{
		"CHECK: Conv\nCHECK: Conv\nCHECK: Neg":               "",
		"CHECK:  a =  Conv\nCHECK-NEXT: Relu":                "",
		"# CHECK: [[R:\\w+]] = Relu\nCHECK: Conv ([[R]], w)": "",
		"CHECK: {{[ab]}} = Relu":                             "",
		"CHECK: Relu\nCHECK-NOT: Relu":                       "",
		"CHECK: Neg\nCHECK-NOT: Conv":                        "",
		"CHECK-NOT: Add":                                     "",
		"CHECK: Neg\nCHECK: Conv":                            "line 2 of the checks, CHECK: Conv, is not found",
		"CHECK: a = Conv\nCHECK-NEXT: Neg":                   "line 2 of the checks, CHECK-NEXT: Neg, is not found",
		"CHECK: a = Conv\nCHECK-NOT: Relu\nCHECK: Neg":       "line 2 of the checks, CHECK-NOT: Relu, is found",
		"CHECK-NOT: Neg":                                     "CHECK-NOT: Neg, is found",
		"CHECK: [[R]]":                                       "which nothing bound",
		"CHECK: {{(}}":                                       "error parsing regexp",
		"nothing":                                            "there is no CHECK line",
	} {
		if err := Lines(checks, text); want == "" {
			assert.NoError(t, err, checks)
		} else {
			assert.ErrorContains(t, err, want, checks)
		}
	}
}
