#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Write what completes vkvm's command lines, out of what its help prints, which comes of the tables
# that options are parsed by: so they cannot differ.
#
#   tools/completion.sh {bash|zsh} VKVM
#
# VKVM is the program, with vkvm-trace where it finds it.

set -eu

shell=$1
vkvm=$2

# The verbs that a help lists: NAME, a tab, what it does.
verbs() {
    sed -n '/^verbs:/,/^$/s/^  \([a-z]*\)  *\(.*\)/\1\t\2/p'
}

# The options that a help lists: --NAME, its value or nothing, the first line of its text; tabs between.
options() {
    awk '
        /^  (-[a-z], )?--/ {
            sub(/^  -[a-z],/, "")
            name = $1
            value = NF > 1 ? $2 : ""
            if (name ~ /\[=/) { value = substr(name, index(name, "[=") + 2); sub(/\]$/, "", value); sub(/\[=.*/, "", name) }
            next
        }
        name != "" { sub(/^ */, ""); print name "\t" value "\t" $0; name = "" }'
}

# help_of VERB [VERB OF IT]
help_of() {
    if [ $# -eq 1 ]; then
        "$vkvm" help "$1"
    else
        "$vkvm" "$1" "$2" --help
    fi
}

# Which verbs have verbs themselves: `trace`.
subverbs() {
    case $1 in
    trace) "$vkvm" trace --help | verbs ;;
    esac
}

names() {
    cut -f 1 | tr '\n' ' ' | sed 's/ $//'
}

# As zsh's _arguments wants it.
zsh_specs() {
    awk -F '\t' -v quote="'" '{
        text = $3
        gsub(/[\\\[\]:]/, "\\\\&", text)
        gsub(quote, quote "\\" quote quote, text)
        value = $2
        gsub(/[^A-Za-z0-9]+/, " ", value)
        printf "            %s*%s%s[%s]%s%s \\\n", quote, $1, $2 == "" ? "" : "=", text,
            $2 == "" ? "" : ":" value ":_files", quote
    }'
}

# each COMMAND: for every verb, and every verb of a verb.
each() {
    "$vkvm" --help | verbs | cut -f 1 | while read -r verb; do
        inner=$(subverbs "$verb" | cut -f 1)
        for second in $inner; do
            "$1" "$verb" "$second"
        done
        [ -n "$inner" ] || "$1" "$verb"
    done
}

bash_case() {
    printf "    '%s') words='%s' ;;\n" "$*" "$(help_of "$@" | options | names)"
}

zsh_case() {
    printf "    '%s')\n        _arguments \\\\\n" "$*"
    help_of "$@" | options | zsh_specs
    printf "            '*:file:_files'\n        ;;\n"
}

zsh_list() {
    sed "s/'/'\\\\''/g" | awk -F '\t' '{ gsub(/:/, "\\:", $2); printf " \47%s:%s\47", $1, $2 }'
}

write_bash() {
    cat <<END
# Completion of vkvm for bash, written by its build.
_vkvm() {
    local current=\${COMP_WORDS[COMP_CWORD]} verb=\${COMP_WORDS[1]-} second=\${COMP_WORDS[2]-} words=
    COMPREPLY=()
    if [ "\$COMP_CWORD" -eq 1 ]; then
        words='$("$vkvm" --help | verbs | names) help --help --version'
    elif [ "\$COMP_CWORD" -eq 2 ]; then
        case \$verb in
        help) words='$("$vkvm" --help | verbs | names)' ;;
        trace) words='$(subverbs trace | names) --help' ;;
        esac
    fi
    [ "\$verb" = trace ] && verb="trace \$second"
    [ -n "\$words" ] || case \$verb in
END
    each bash_case
    cat <<END
    esac
    case \$current in
    -*) ;;
    *) [ "\$COMP_CWORD" -le 2 ] && case " \$words" in ' --'*) words= ;; esac || words= ;;
    esac
    [ -z "\$words" ] || mapfile -t COMPREPLY < <(compgen -W "\$words" -- "\$current")
}
complete -o bashdefault -o default -F _vkvm vkvm
END
}

write_zsh() {
    cat <<END
#compdef vkvm
# Completion of vkvm for zsh, written by its build.
_vkvm() {
    local -a list
    local verb=\$words[2]
    if (( CURRENT == 2 )); then
        list=($("$vkvm" --help | verbs | zsh_list) 'help:explain a verb')
        _describe verb list
        return
    fi
    if [[ \$verb == trace ]]; then
        if (( CURRENT == 3 )); then
            list=($(subverbs trace | zsh_list))
            _describe verb list
            return
        fi
        verb="trace \$words[3]"
    fi
    case \$verb in
END
    each zsh_case
    cat <<END
    esac
}
_vkvm "\$@"
END
}

"write_$shell"
