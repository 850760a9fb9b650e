package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/internal/extern"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/passes/rulefile"
	targetlist "github.com/onnxopt/onnxopt/targets/all"
)

// rulePasses reads the files of --rules, tests them unless they are trusted, and makes a pass of each, named after its file.
func (e *env) rulePasses(ctx context.Context, f *optimizeFlags) ([]*passes.Pass, error) {
	var list []*passes.Pass
	for _, name := range f.rules {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, &fileError{name, err}
		}
		file, err := rulefile.Parse(b)
		if err != nil {
			return nil, &fileError{name, err}
		}
		base := strings.ToLower(filepath.Base(name))
		pass := strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.TrimSuffix(base, filepath.Ext(base)), "-"), "-")
		if pass == "" || pass[0] >= '0' && pass[0] <= '9' {
			pass = strings.TrimSuffix("rules-"+pass, "-")
		}
		if !f.trustRules {
			if err := e.testRules(ctx, name, file); err != nil {
				return nil, err
			}
		}
		list = append(list, file.Pass(pass))
	}
	return list, nil
}

func (e *env) testRules(ctx context.Context, name string, file *rulefile.File) error {
	err := file.Test(ctx, 1)
	var wrong *rulefile.WrongError
	var untested *rulefile.UntestedError
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.As(err, &wrong):
		example := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)) + "." + wrong.Rule + ".onnxtxt"
		text := fmt.Sprintf("%v; without --rules-trusted it is not used", err)
		if werr := os.WriteFile(example, []byte(wrong.Model+"\n"), 0o666); werr == nil {
			text += "; a model that shows it: " + example
		}
		return &fileError{name, errors.New(text)}
	case errors.As(err, &untested):
		return &fileError{name, fmt.Errorf("%w, or --rules-trusted takes it as it is", err)}
	}
	return &fileError{name, err}
}

// registry is that of all passes that this command has, and of further ones.
func (e *env) registry(further ...*passes.Pass) (*passes.Registry, error) {
	return all.RegistryFor(targetlist.Profiles(), append(append(slices.Clone(e.more), extern.Pass()), further...)...)
}

// mayExec refuses a pipeline that runs programs and comes from a file, unless that is allowed.
func mayExec(p *passes.Pipeline, allowed bool) error {
	if !allowed && names(p, extern.Name) {
		return fmt.Errorf("its pipeline runs a program, %s; --allow-exec permits that", p)
	}
	return nil
}
