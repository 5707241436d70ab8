# bash: put `source <(dhow completion bash)` into ~/.bashrc, or this text into /etc/bash_completion.d/dhow
_dhow() {
    local rest=${COMP_LINE:0:COMP_POINT} word trimmed i kind line cur cut
    local -a words=()
    # bash splits at `:` and `=`; what stands together on the line is one word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        trimmed=${rest#"${rest%%[![:space:]]*}"}
        ((i == COMP_CWORD)) && word=$trimmed
        if ((${#words[@]} > 1)) && [[ $trimmed == "$rest" ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        rest=${trimmed:${#word}}
    done
    cur=${words[${#words[@]} - 1]}
    # What stands before the last `:` or `=` stays on the line.
    cut=
    if [[ $cur == *[:=]* && $COMP_WORDBREAKS == *[:=]* ]]; then
        cut=${cur%"${cur##*[:=]}"}
    fi
    COMPREPLY=()
    {
        read -r kind
        while IFS=$'\t' read -r line _; do
            COMPREPLY+=("${line#"$cut"}")
        done
    } < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
    case $kind in
        files) compopt -o default ;;
        dirs) compopt -o dirnames ;;
    esac
}
complete -F _dhow dhow
