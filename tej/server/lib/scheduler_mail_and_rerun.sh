# Options of qsub for mails and for a rerun, which PBS and Grid Engine have in common. The other
# options are in runtimes/pbs/runtime.sh and runtimes/sge/runtime.sh (scheduler_options).
# shellcheck shell=sh

# mail_and_rerun: add -M, -m and -r to the options of qsub, unless the script sets these
# options.
mail_and_rerun() {
    if [ -n "$r_mail" ]; then
        letters=''
        case $r_mail_on in *begin*) letters=b ;; esac
        case $r_mail_on in *end*) letters=${letters}e ;; esac
        case $r_mail_on in *fail*) letters=${letters}a ;; esac
        prepend -M "$r_mail" -m "$letters"
    else
        is_requested -m -M || prepend -m n
    fi
    case $r_requeue in
        1) prepend -r y ;;
        0) prepend -r n ;;
        *) is_requested -r || prepend -r n ;;
    esac
}
