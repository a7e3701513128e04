// Texts at hand that somebody else will read: in a language that is chosen, and not by accident that of whoever sends them.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { LANGUAGES, currentLanguage, t, wordsIn, type Key, type Language, type Words } from "./words.js";

/** Offers these texts as they will be read; what is chosen can be changed before it is sent. */
export function Texts({ keys, onChoose }: { keys: readonly Key[]; onChoose: (text: string) => void }): JSX.Element {
  const [language, setLanguage] = useState(currentLanguage());
  const [words, setWords] = useState<{ language: Language; words: Words } | null>(null);
  const [missing, setMissing] = useState<Language | null>(null);
  useEffect(() => {
    let isWanted = true;
    wordsIn(language).then((it) => isWanted && setWords({ language, words: it }), () => isWanted && setMissing(language));
    return () => {
      isWanted = false;
    };
  }, [language]);
  const isMissing = missing === language && words?.language !== language;
  return (
    <div class="texts">
      <label class="texts-language">
        <span>{t("texts.language")}</span>
        <select class="field" value={language} onChange={(event) => setLanguage(event.currentTarget.value as Language)}>
          {Object.entries(LANGUAGES).map(([code, name]) => <option key={code} value={code}>{name}</option>)}
        </select>
      </label>
      {isMissing ? <p class="soft" role="alert">{t("language.missing", { language: LANGUAGES[language] })}</p> : null}
      {words?.language === language ? <div class="chips" lang={language}>{keys.map((it) => <button key={it} type="button" onClick={() => onChoose(words.words[it])}>{words.words[it]}</button>)}</div> : null}
    </div>
  );
}
