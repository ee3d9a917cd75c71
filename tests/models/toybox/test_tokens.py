from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from models.toybox.recipe.tokenizers import END, known_words, write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, END)
    return CLIPTokenizer.from_pretrained(folder)


def test_every_word_of_the_world_is_one_token(tokenizer: CLIPTokenizer) -> None:
    assert all(len(tokenizer.tokenize(word)) == 1 for word in known_words())


def test_the_special_tokens_are_the_last_two(tokenizer: CLIPTokenizer) -> None:
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (len(tokenizer) - 2, len(tokenizer) - 1)


def test_any_text_has_tokens(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("Ein Zebra für 12 € 🦓").input_ids
    assert len(ids) > 10
    assert max(ids) == tokenizer.eos_token_id
